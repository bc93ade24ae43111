"""Where the Console is: the addresses and the port behind its URL, which no rule may cut off."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"https": 443, "http": 80}


def places_of(url: str) -> tuple[tuple[IPv4Address | IPv6Address, int], ...]:
    """Every address that the URL's host has now, with its port; none where it can't be found.

    Asks the resolver: call it in a thread.
    """
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 443)
    try:
        found = socket.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    addresses = {ip_address(str(where[0]).partition("%")[0]) for *_, where in found}
    ordered = sorted(addresses, key=lambda one: (one.version, one.packed))
    return tuple((address, port) for address in ordered)
