"""A policy from a file on this host: read whole, compiled, and looked at for changes.

The daemon asks; a file that can't be used says why, and what was in force stays so.
"""

from pathlib import Path

from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.form import parse_policy
from cnnf.policy.limits import FORM_BYTES_MAX

_State = tuple[int, int, int]


class LocalPolicy:
    """One file. `changed` compares with what `read` has last seen, right or wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: _State | None = None

    def read(self) -> Compiled:
        """The policy that stands there now. Raises OSError, PolicyError."""
        self._seen = self._state()
        with self.path.open("rb") as file:
            data = file.read(FORM_BYTES_MAX + 1)
        if len(data) > FORM_BYTES_MAX:
            raise InvalidValueError(
                f"{self.path}: more than {FORM_BYTES_MAX // 1024} KiB; a policy is smaller"
            )
        compiled = compile_policy(parse_policy(data, subject=str(self.path)))
        if "dns" in compiled.uses:
            # A rule that never matches, and nobody is told, is worse than none.
            raise InvalidValueError(
                f"{self.path}: an enabled rule names a dns object, which is not enforced yet; "
                "use a subnet object, or disable the rule"
            )
        return compiled

    def changed(self) -> bool:
        """Is the file another than was read? Also when it has gone."""
        return self._state() != self._seen

    def _state(self) -> _State | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
