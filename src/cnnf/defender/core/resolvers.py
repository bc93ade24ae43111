"""Which servers' answers count for rules: those that somebody has configured, and this host's own.

Whoever may ask any server could else let himself in, by a server of his own.
"""

from ipaddress import ip_address

from cnnf.defender.core.attribution import plain

#: Where a host says whom to ask. Where systemd-resolved is in between, its own servers stand in the
#: second file, and Docker has its containers ask those.
FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


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
