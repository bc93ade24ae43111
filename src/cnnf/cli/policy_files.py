"""Files that commands about policies are given: read whole, all problems of all of them told."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cnnf.cli.failure import Failure
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidFormError, InvalidValueError
from cnnf.policy.form import parse_policy
from cnnf.policy.limits import FORM_BYTES_MAX
from cnnf.policy.moments import moment
from cnnf.policy.rules import Policy

Parsed = TypeVar("Parsed")

#: What wrong input ends with, as wrong usage does.
WRONG = 2


class Files:
    """Files read one after the other; `finish` ends the command if any of them is wrong."""

    def __init__(self) -> None:
        self._problems: list[str] = []

    def read(self, path: Path, parse: Callable[..., Parsed]) -> Parsed | None:
        """What a file says, None where it is wrong. `parse` is of the policy package."""
        try:
            return parse(read_bytes(path), subject=str(path))
        except InvalidFormError as error:
            self._problems.append(str(error))
        except OSError as error:
            self._problems.append(f"{path}: {error.strerror or error}")
        return None

    def finish(self) -> None:
        """Raises Failure with every problem there was."""
        if self._problems:
            raise Failure("\n".join(self._problems), exit_code=WRONG)


def read_bytes(path: Path) -> bytes:
    """A file's bytes, one more than may be at most; `-` is standard input. Raises OSError."""
    with Path("/dev/stdin" if str(path) == "-" else path).open("rb") as file:
        return file.read(FORM_BYTES_MAX + 1)


def policy_of(path: Path) -> Policy:
    """The policy of one file. Raises Failure."""
    files = Files()
    found = files.read(path, parse_policy)
    files.finish()
    assert found is not None
    return found


def compiled_of(policy: Policy, path: Path, now_ms: int) -> Compiled:
    """A policy made ready. Raises Failure."""
    try:
        return compile_policy(policy, now_ms)
    except InvalidValueError as error:
        raise Failure(f"{path}: {error}", exit_code=WRONG) from error


def moment_of(text: str) -> int:
    """The moment that `--at` says, the present if it says nothing. Raises Failure."""
    if not text:
        return int(datetime.now(UTC).timestamp()) * 1000
    try:
        return moment(text)
    except InvalidValueError as error:
        raise Failure(f"--at: {error}", exit_code=WRONG) from error
