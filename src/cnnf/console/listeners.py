"""Where the Console listens: addresses from text, sockets bound before anything else is done."""

import errno
import ipaddress
import socket

import msgspec

from cnnf.console.errors import CannotStart

_REASONS = {
    errno.EADDRINUSE: ("is in use by another program", "Stop that program, or choose another"),
    errno.EACCES: ("may not be used by this user", "Run as root, or choose a port above 1023"),
    errno.EADDRNOTAVAIL: ("is no address of this machine", "Choose another"),
}


class ListenAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address and a port, and the option that named them."""

    host: str
    port: int
    option: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_any(self) -> bool:
        return ipaddress.ip_address(self.host).is_unspecified


def parse(text: str, option: str) -> ListenAddress:
    """`127.0.0.1:8083` or `[::1]:8083`. Raises CannotStart."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = ""
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    if not host or not 0 <= number <= 65_535:
        raise CannotStart(
            f"{option} {text}: not an address and a port",
            hint=f"Write it as {option} 127.0.0.1:8083 or {option} [::1]:8083.",
        )
    return ListenAddress(host=host, port=number, option=option)


def bind(address: ListenAddress) -> socket.socket:
    """The bound socket; nothing is accepted before a server listens. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        # SO_REUSEADDR lets two programs bind as long as neither listens; listening tells.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        why, what = _REASONS.get(error.errno or 0, (error.strerror, "Choose another"))
        raise CannotStart(f"{address} {why}", hint=f"{what} with {address.option}.") from error
    listener.setblocking(False)
    return listener


def bound(address: ListenAddress, listener: socket.socket) -> ListenAddress:
    """The address with the port that the kernel chose where 0 was asked for."""
    return ListenAddress(host=address.host, port=listener.getsockname()[1], option=address.option)


def names(addresses: list[ListenAddress], advertise: str) -> list[str]:
    """The names and addresses that the server's certificate is good for."""
    found = {"localhost", "127.0.0.1", "::1"}
    found.update(address.host for address in addresses if not address.is_any)
    hostname = socket.gethostname()
    # What a certificate can hold; a host may be called anything.
    if hostname and hostname.isascii() and len(hostname) <= 253:
        found.add(hostname)
    if advertise:
        found.add(advertise)
    return sorted(found)


def url(address: ListenAddress, scheme: str, advertise: str) -> str:
    """How others reach this address."""
    host = address.host
    if not address.is_loopback and advertise:
        host = advertise
    elif address.is_any:
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{address.port}"
