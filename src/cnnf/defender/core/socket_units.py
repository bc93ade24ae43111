"""systemd's socket units: where the first process listens for a service that is not there yet.

Pure: texts of unit files in, places and services out. From systemd.socket(5).
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address

import msgspec

from cnnf.defender.core.services import unit_of
from cnnf.protocol.messages import Protocol

_KINDS: dict[str, Protocol] = {"ListenStream": "tcp", "ListenDatagram": "udp"}
_WITH_HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>\d+(?:\.\d+){3})):(?P<port>\d+)\Z")
#: Places of one unit; more are not kept.
_PLACES_MAX = 64


class SocketUnit(msgspec.Struct, frozen=True):
    """Where a socket unit listens (protocol, packed address or empty for any, port) and the name of
    the service that it starts, as `unit_of` has it."""

    places: tuple[tuple[Protocol, bytes, int], ...]
    service: str


def socket_unit(name: str, texts: Iterable[str]) -> SocketUnit:
    """The unit called `name` (`ssh.socket`), from its file and its drop-ins in their order."""
    places: dict[str, list[tuple[Protocol, bytes, int]]] = {key: [] for key in _KINDS}
    service = f"{name.removesuffix('.socket')}.service"
    for text in texts:
        for key, value in _settings(text):
            if key in _KINDS:
                if not value:
                    places[key].clear()  # an empty setting takes back what was set before
                elif len(places[key]) < _PLACES_MAX:
                    place = _place(value)
                    places[key] += [(_KINDS[key], *place)] if place else []
            elif key == "Service" and value.endswith(".service"):
                service = value
    found = tuple(place for kind in places.values() for place in kind)
    return SocketUnit(found, unit_of(f"/{service}"))


def _settings(text: str) -> Iterable[tuple[str, str]]:
    section = ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[Socket]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _place(value: str) -> tuple[bytes, int] | None:
    """A port, or an address and one; None for paths, names and what only systemd can expand."""
    if value.isascii() and value.isdigit():
        return (b"", int(value)) if 0 < int(value) < 65_536 else None
    match = _WITH_HOST.match(value)
    if not match:
        return None
    try:
        address = ip_address((match["six"] or match["four"]).partition("%")[0])
    except ValueError:
        return None
    port = int(match["port"])
    packed = b"" if address.is_unspecified else address.packed
    return (packed, port) if 0 < port < 65_536 else None
