"""Which service systemd listens for: socket units read from where systemd reads them.

Used for a listening socket that only the first process (or a user's manager) holds. Files that
can't be read say nothing; where two units name one place for different services, none is told.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cnnf.defender.core.socket_units import SocketUnit, socket_unit
from cnnf.defender.discovery import limits
from cnnf.protocol.messages import Protocol

#: systemd.unit(5), "Unit File Search Path", the first that has a file wins.
SEARCH_PATH = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)


class SocketUnits:
    """Socket units of this host, read again at most every so often."""

    def __init__(
        self,
        search_path: Sequence[str | Path] = SEARCH_PATH,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search_path = tuple(map(Path, search_path))
        self._clock_s = clock_s
        self._units: list[SocketUnit] = []
        self._read_at = float("-inf")

    def service(self, protocol: Protocol, address: bytes, port: int) -> str:
        """The service that is started for a connection to this place; '' when it is not certain.

        The address is packed; all zeros is any.
        """
        now_s = self._clock_s()
        if now_s - self._read_at >= limits.SOCKET_UNITS_SECONDS:
            self._units, self._read_at = self._read(), now_s
        place = protocol, address if any(address) else b"", port
        services = {unit.service for unit in self._units if place in unit.places}
        return services.pop() if len(services) == 1 else ""

    def _read(self) -> list[SocketUnit]:
        files: dict[str, Path] = {}
        drop_ins: dict[str, dict[str, Path]] = {}
        for directory in self._search_path:
            for path in _entries(directory):
                if path.name.endswith(".socket"):
                    files.setdefault(path.name, path)
                elif path.name.endswith(".socket.d"):
                    unit = drop_ins.setdefault(path.name.removesuffix(".d"), {})
                    for more in _entries(path):
                        if more.name.endswith(".conf"):
                            unit.setdefault(more.name, more)
        found = []
        for name in sorted(files)[: limits.SOCKET_UNITS_MAX]:
            added = drop_ins.get(name, {})
            texts = [_text(files[name]), *(_text(added[one]) for one in sorted(added))]
            found.append(socket_unit(name, texts))
        return found


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())[: limits.SOCKET_UNITS_MAX * 4]
    except OSError:
        return []


def _text(path: Path) -> str:
    # A masked unit is a link to /dev/null and says nothing.
    try:
        with path.open("rb") as file:
            return file.read(limits.PROC_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
