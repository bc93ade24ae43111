"""Where on the internet protected hosts are, in a bounded number of networks."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from cnnf.policy.addresses import Network


def widened(networks: Iterable[Network], most: int) -> list[Network]:
    """At most so many networks that hold all of these, the nearest to each other taken together,
    IPv4 before IPv6; the same ones for the same addresses."""
    told = list(networks)
    four = list(collapse_addresses([one for one in told if isinstance(one, IPv4Network)]))
    six = list(collapse_addresses([one for one in told if isinstance(one, IPv6Network)]))
    while len(four) + len(six) > most:
        # A bit at a time, where there are most of the longest prefixes.
        if len(four) >= len(six):
            four = list(collapse_addresses(_shortened(four)))
        else:
            six = list(collapse_addresses(_shortened(six)))
    return [*four, *six]


def _shortened(networks: list[IPv4Network] | list[IPv6Network]) -> list:  # type: ignore[type-arg]
    longest = max(one.prefixlen for one in networks)
    return [one.supernet() if one.prefixlen == longest else one for one in networks]
