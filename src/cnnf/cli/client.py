"""How commands reach the Console: where it listens, the command line's token, one request each."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from cnnf.cli.failure import Failure

_TIMEOUT_S = 30.0
_START_IT = "Start it with `cnnf up`, or name its directory with --data-dir."


class Unreachable(Failure):
    """The Console does not answer now; a command that follows something tries again."""


class _Running(msgspec.Struct, frozen=True):
    url: str
    pid: int


class Client:
    """The Console's API for commands. Every method raises Failure with what to do about it.

    `console` overrides the address; the token always comes from the data directory.
    """

    def __init__(self, data_dir: Path, console: str | None = None) -> None:
        self._data_dir = data_dir
        self.url = console.rstrip("/") if console else self._find()
        authority = data_dir / "tls" / "ca.pem"
        verify: Any = True
        if self.url.startswith("https:") and authority.is_file():
            import ssl

            verify = ssl.create_default_context(cafile=str(authority))
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {self._token()}"},
            timeout=_TIMEOUT_S,
            verify=verify,
            # A proxy of the environment is for the internet; the Console is not there.
            trust_env=False,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str) -> Any:
        """The answer's JSON."""
        return self.request("GET", path, params=query)

    def stream(self, path: str, last_id: str = "", **query: str) -> Iterator[tuple[str, str, Any]]:
        """Server-sent events as (name, id, data), until the Console ends the stream."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with self._http.stream("GET", path, params=query, headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._refused("GET", path, answer)
                yield from _events(answer.iter_lines())
        except httpx.HTTPError as error:
            raise self._silent(error) from error

    def post(self, path: str, body: Any = None) -> Any:
        """The answer's JSON."""
        return self.request("POST", path, json=body)

    def put(self, path: str, body: Any) -> Any:
        """The answer's JSON."""
        return self.request("PUT", path, json=body)

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Make one request; `path` is relative to `/api/v1`."""
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise self._refused(method, path, answer)

    def text(self, path: str, *, accept: str) -> str:
        """The answer's text, in a form that this media type names."""
        try:
            answer = self._http.get(path, headers={"Accept": accept})
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        if answer.is_success:
            return answer.text
        raise self._refused("GET", path, answer)

    def _refused(self, method: str, path: str, answer: httpx.Response) -> Failure:
        return Failure(f"{method} {path}: {_message(answer)}", hint=_hint(answer.status_code))

    def _silent(self, error: httpx.HTTPError) -> Unreachable:
        return Unreachable(f"the Console at {self.url} does not answer: {error}", hint=_START_IT)

    def _find(self) -> str:
        path = self._data_dir / "console.json"
        try:
            running = msgspec.json.decode(path.read_bytes(), type=_Running)
        except FileNotFoundError as error:
            raise Failure(f"no Console runs on {self._data_dir}", hint=_START_IT) from error
        except PermissionError as error:
            raise self._unreadable(path) from error
        except (OSError, msgspec.DecodeError) as error:
            raise Failure(f"{path}: cannot be read: {error}", hint=_START_IT) from error
        if not _alive(running.pid):
            raise Failure(
                f"no Console runs on {self._data_dir}: process {running.pid} is gone",
                hint=_START_IT,
            )
        return running.url

    def _token(self) -> str:
        path = self._data_dir / "cli-token"
        try:
            return path.read_text(encoding="ascii").strip()
        except PermissionError as error:
            raise self._unreadable(path) from error
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{path}: cannot be read: {error}", hint=_START_IT) from error

    def _unreadable(self, path: Path) -> Failure:
        return Failure(f"{path}: not readable by this user", hint="Run the command as root.")


def _events(lines: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """The events among a stream's lines; comments (`: keep-alive`) are none."""
    name = id_ = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            id_ = value
        elif field == "data":
            yield name, id_, json.loads(value)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _hint(status: int) -> str:
    if status == 401:
        return "The token in the data directory is not this Console's; restart the Console."
    return ""
