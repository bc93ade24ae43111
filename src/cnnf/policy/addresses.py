"""What *internet* means: every unicast address that is not in a stated list.

Used by the Defender (which flows the limited view shows) and by the Console (which peers are drawn
as the internet and which as unmanaged). Python's own `ipaddress.is_private` is not used: it calls
documentation ranges private, so an address that routes to the outside would be drawn as inside.
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Networks that are not the internet. RFC 1122 (0/8), RFC 1918, RFC 6598 (shared CGNAT),
#: RFC 3927 and RFC 4291 (link-local, loopback), RFC 5771 and RFC 4291 (multicast),
#: RFC 1112 (240/4), RFC 4193 (unique local), RFC 4291 (unspecified).
INSIDE_NETWORKS: tuple[str, ...] = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
)

_INSIDE: tuple[Network, ...] = tuple(ip_network(text) for text in INSIDE_NETWORKS)


def parse_address(text: str) -> Address:
    """An address from its text; an IPv4-mapped IPv6 address is that IPv4 address.

    Raises ValueError when the text is no address. A zone (`fe80::1%eth0`) is dropped.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_internet(address: Address, inside: tuple[Network, ...] = _INSIDE) -> bool:
    """True when the address lies in none of the networks that are stated to be inside."""
    return not any(address.version == net.version and address in net for net in inside)
