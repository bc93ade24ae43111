"""The few things the demo asks of a Docker Engine, over its Unix socket.

Every failure is a message for a person: the demo is what somebody tries first.
"""

from pathlib import Path
from typing import Any

import httpx

from cnnf.cli.failure import Failure

DEFAULT_SOCKET = "unix:///var/run/docker.sock"

#: Seconds for one request. Importing an image of 2 MB takes under a second; a busy disk, longer.
_TIMEOUT_S = 60.0

_INSTALL_HINT = (
    "install Docker (apt-get install docker.io) and start it (systemctl start docker), "
    "or name its socket with --docker unix:///path"
)


class Engine:
    """A Docker Engine. Use as a context manager."""

    def __init__(self, address: str) -> None:
        self._path = socket_path(address)
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self._path)),
            base_url="http://docker",
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def greet(self) -> None:
        """Raise Failure unless an engine answers."""
        self._ask("GET", "/_ping")

    def get(self, path: str, **parameters: str) -> Any:
        """The answer to GET as JSON; None when there is no such thing."""
        response = self._ask("GET", path, params=parameters, missing=True)
        return None if response is None else response.json()

    def post(self, path: str, body: Any = None, **parameters: str) -> Any:
        """The answer to POST as JSON, None when it is empty."""
        response = self._ask("POST", path, params=parameters, json=body)
        assert response is not None
        return response.json() if response.content else None

    def delete(self, path: str, **parameters: str) -> None:
        """Remove something; that it is gone already is fine."""
        self._ask("DELETE", path, params=parameters, missing=True)

    def import_image(self, name: str, archive: bytes, label: str) -> None:
        """Make an image of a file system. `name` has a tag, `label` is `key=value`."""
        repository, _, tag = name.rpartition(":")
        response = self._ask(
            "POST",
            "/images/create",
            params={"fromSrc": "-", "repo": repository, "tag": tag, "changes": f"LABEL {label}"},
            content=archive,
        )
        # The engine says 200 first and what went wrong afterwards, as a line of JSON.
        assert response is not None
        if '"errorDetail"' in response.text:
            raise Failure(f"Docker refused the image {name}: {response.text[-300:].strip()}")

    def _ask(
        self, method: str, path: str, *, missing: bool = False, **more: Any
    ) -> httpx.Response | None:
        try:
            response = self._client.request(method, path, **more)
        except httpx.TimeoutException as error:
            message = f"Docker at {self._path} did not answer {method} {path} in {_TIMEOUT_S:.0f} s"
            raise Failure(message) from error
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if missing and response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise Failure(f"Docker refused {method} {path}: {_message(response)}")
        return response

    def _unreachable(self, error: httpx.HTTPError) -> Failure:
        if not self._path.exists():
            return Failure(f"there is no Docker socket {self._path}", hint=_INSTALL_HINT)
        reason = str(error) or type(error).__name__
        return Failure(f"cannot talk to Docker at {self._path}: {reason}", hint=_INSTALL_HINT)


def socket_path(address: str) -> Path:
    """The path in `unix:///path`. Raises Failure for any other address."""
    path = address.removeprefix("unix://")
    if not path.startswith("/"):
        raise Failure(f"--docker {address}: only unix:///path is understood", exit_code=2)
    return Path(path)


def _message(response: httpx.Response) -> str:
    try:
        message = response.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text
    return f"{str(message)[:300]} (status {response.status_code})"
