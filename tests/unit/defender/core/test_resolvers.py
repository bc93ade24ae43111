"""Whose answers count: what a resolv.conf names, and nothing that only looks like it."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.containers import Container
from cnnf.defender.core.resolvers import Configured, nameservers
from tests.unit.defender.core.estate import packed


def test_what_hosts_have() -> None:
    text = """
# Written by somebody
; and commented twice
search example.org
nameserver 10.0.0.53
 nameserver\t2001:db8::53
nameserver fe80::1%eth0
nameserver ::ffff:192.0.2.53 trailing words
options edns0 trust-ad
"""
    assert nameservers(text) == {
        packed("10.0.0.53"),
        packed("2001:db8::53"),
        packed("fe80::1"),
        packed("192.0.2.53"),
    }


def test_what_is_no_server_is_none() -> None:
    text = """
nameserver
nameserver resolver.example
nameserver 10.0.0
nameserver 10.0.0.53/24
#nameserver 10.0.0.1
nameservers 10.0.0.2
search nameserver 10.0.0.3
"""
    assert nameservers(text) == frozenset()


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(len(one) in (4, 16) for one in nameservers(f"{text}\nnameserver {text}"))


def test_a_containers_own_resolvers_count_for_it_alone() -> None:
    one, other, guest = packed("172.17.0.2"), packed("172.17.0.3"), packed("172.17.0.4")
    stated, hosts, own = packed("10.0.0.1"), packed("10.0.0.53"), packed("192.0.2.53")
    configured = Configured([stated])
    configured.use(["nameserver 10.0.0.53"])
    with_own = Container(id="a", image="shop", resolvers=("192.0.2.53", "2001:db8::53"))
    # It has the resolv.conf of the one whose network namespace it lives in.
    inside = Container(id="c", image="shop", resolvers=("192.0.2.53",), shared_network="b")
    behind = {
        one: [with_own],
        other: [Container(id="b", image="shop")],
        guest: [Container(id="b", image="shop"), inside],
    }
    configured.set_containers(behind)
    assert [configured.count(at, own) for at in (one, other, guest)] == [True, False, False]
    assert configured.count(one, packed("2001:db8::53"))
    assert all(configured.count(at, by) for at in behind for by in (stated, hosts))
    configured.set_containers({})
    configured.use([])
    assert not configured.count(one, own)
    assert not configured.count(one, hosts)
    assert configured.count(one, stated)
