"""Which servers' answers count for rules: those that somebody has configured, and this host's own.

Whoever may ask any server could else let himself in, by a server of his own.
"""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address

from cnnf.defender.core.attribution import packed, plain
from cnnf.defender.core.containers import Container

#: Where a host says whom to ask. Where systemd-resolved is in between, its own servers stand in the
#: second file, and Docker has its containers ask those.
FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


class Configured:
    """The servers that count, for everybody and for single containers."""

    def __init__(self, stated: Iterable[bytes] = ()) -> None:
        self._stated = frozenset(stated)
        self._everybody = self._stated
        self._own: dict[bytes, frozenset[bytes]] = {}

    def use(self, texts: Iterable[str]) -> None:
        """What the host's files say now."""
        self._everybody = self._stated.union(*map(nameservers, texts))

    def set_containers(self, behind: Mapping[bytes, Collection[Container]]) -> None:
        """Who stands behind addresses now. Who lives in another one's network namespace asks as
        that one does, whatever itself was given: it has no resolv.conf of its own."""
        self._own = {}
        for address, containers in behind.items():
            own = {text for one in containers if not one.shared_network for text in one.resolvers}
            if own:
                self._own[plain(address)] = frozenset(map(packed, own))

    def count(self, asker: bytes, server: bytes) -> bool:
        """Do this server's answers count for whoever has the asker's address?"""
        return server in self._everybody or server in self._own.get(asker, ())


def nameservers(text: str) -> frozenset[bytes]:
    """The packed addresses that a resolv.conf (man 5 resolv.conf) names; what is none is left
    out, as resolvers do."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            found.add(plain(address.packed))
    return frozenset(found)
