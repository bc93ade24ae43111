"""Who stands behind an address: the one that is meant, or nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import nodes, questions
from cnnf.console.core.directory import Directory, Found
from cnnf.console.errors import Refused
from cnnf.protocol.codec import encode_json
from cnnf.protocol.directory import decode_answers
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge, UnsupportedVersion
from cnnf.protocol.limits import CANDIDATES_TOLD_MAX
from cnnf.protocol.messages import (
    HostInfo,
    HostNetwork,
    Instance,
    Published,
    Question,
    Sought,
)

NOW = 1_790_000_000_000
DOCKER = HostNetwork(cidr="172.17.0.0/16")
WEB, DB = "192.0.2.1", "192.0.2.2"


def container(id_: str, name: str, *addresses: str, **more: object) -> Instance:
    values: dict[str, object] = {"started_at": NOW - 60_000} | more
    return Instance(
        id=id_, kind="container", name=name, addresses=list(addresses),
        **values,  # type: ignore[arg-type]
    )  # fmt: skip


def service(name: str, *ports: int) -> Instance:
    return Instance(id=f"service:{name}", kind="service", name=name, ports=list(ports))


def host(name: str, *addresses: str, networks: tuple[HostNetwork, ...] = (DOCKER,)) -> HostInfo:
    return HostInfo(name=name, addresses=list(addresses), networks=list(networks))


class Estate:
    """A directory that is told at times of the test's choosing."""

    def __init__(self) -> None:
        self.directory = Directory(1000)
        self.tell("web", host("web-1", WEB, "172.17.0.1"))
        self.tell("db", host("db-1", DB, "172.17.0.1"))

    def tell(
        self, defender: str, info: HostInfo | None, *instances: Instance, at: int = NOW,
        snapshot: bool = False,
    ) -> None:  # fmt: skip
        self.directory.tell(defender, info, instances, snapshot=snapshot, sent_at=at)

    def to(
        self, address: str, port: int, *, asker: str = "web", at: int = NOW, protocol: str = "tcp"
    ) -> Found | None:
        return self.directory.find_destination(asker, address, port, protocol, (at,))

    def whence(self, address: str, *, asker: str = "db", at: int = NOW) -> Found | None:
        return self.directory.find_source(asker, address, (at,))

    def names(self, address: str, port: int = 0, *, asker: str = "web") -> list[str]:
        answer = self.directory.answer(asker, Sought(address=address, port=port))
        return sorted(one.name for one in answer.candidates)


def test_a_port_leads_to_what_is_published_then_to_who_listens_then_to_the_host() -> None:
    estate = Estate()
    estate.tell(
        "db", None,
        container("c1", "shop/db", "172.17.0.2", published=[Published(port=15432, to=5432)]),
        container("c2", "shop/one", "172.17.0.3", published=[
            Published(address=DB, port=8080, to=80)]),
        container("c3", "shop/all", "172.17.0.4", published=[
            Published(address="0.0.0.0", port=8080, to=81)]),
        service("docker", 15432, 8080), service("sshd", 22),
    )  # fmt: skip
    assert estate.to(DB, 15432) == Found("db", nodes.app("shop/db"), 5432, True)
    assert estate.to(DB, 8080) == Found("db", nodes.app("shop/one"), 80, True)
    assert estate.to(DB, 22) == Found("db", nodes.service("sshd"), 22, True)
    assert estate.to(DB, 9) == Found("db", nodes.host("db", "db-1"), 9, False)
    assert estate.to(f"::ffff:{DB}", 22) == estate.to(DB, 22)
    assert estate.to(DB, 15432, protocol="udp") == Found("db", nodes.host("db", "db-1"), 15432,
                                                         False)  # fmt: skip
    assert estate.names(DB, 15432) == ["shop/db"]
    assert estate.names(DB, 9) == ["db-1"]
    leads_to = {
        port: estate.directory.answer("web", Sought(address=DB, port=port)).leads_to
        for port in (15432, 8080, 22, 9)
    }
    assert leads_to == {15432: 5432, 8080: 80, 22: 0, 9: 0}


def test_two_hosts_with_the_same_private_network_never_mix() -> None:
    estate = Estate()
    for defender in ("web", "db"):
        estate.tell(defender, None, container("c1", f"app-{defender}", "172.17.0.2"))
    for asker in ("web", "db", "third"):
        assert estate.to("172.17.0.2", 80, asker=asker) is None
        assert estate.whence("172.17.0.2", asker=asker) is None
        # Both have it, and on each it is a bridge's.
        assert estate.whence("172.17.0.1", asker=asker) is None
        assert estate.names("172.17.0.2", 80, asker=asker) == []


def test_an_address_that_two_claim_is_nobodys() -> None:
    estate = Estate()
    estate.tell("other", host("other", DB))
    assert estate.to(DB, 22) is None
    estate.tell("other", host("other", "192.0.2.9"), at=NOW + 1)
    assert estate.to(DB, 22) is not None
    for address in ("127.0.0.1", "::1", "fe80::1", "169.254.1.1", "224.0.0.1", "0.0.0.0"):
        estate.tell("third", host("third", address))
        assert estate.to(address, 22) is None


ROUTED = (HostNetwork(cidr="10.244.1.0/24", routed=True),)


def test_a_routed_address_is_its_containers_everywhere() -> None:
    estate = Estate()
    estate.tell("db", host("db-1", DB, networks=ROUTED), container("p1", "shop/db", "10.244.1.7"))
    assert estate.to("10.244.1.7", 5432) == Found("db", nodes.app("shop/db"), 5432, True)
    assert estate.whence("10.244.1.7", asker="web") == Found("db", nodes.app("shop/db"), 0, True)
    assert estate.names("10.244.1.7") == ["shop/db"]
    # Not asked by its own host, and not yet told of: its host is known, no more.
    assert estate.to("10.244.1.7", 5432, asker="db") is None
    assert estate.to("10.244.1.8", 80) == Found("db", nodes.unmanaged("10.244.1.8"), 80, False)
    assert estate.names("10.244.1.8", 80) == []
    # A second one that claims it: nobody.
    estate.tell("o", host("o", "192.0.2.7", networks=ROUTED), container("x", "x", "10.244.1.7"))
    assert estate.to("10.244.1.7", 5432) is None
    assert estate.names("10.244.1.7") == []


def test_a_private_network_of_ones_own_hides_what_others_have_there() -> None:
    estate = Estate()
    estate.tell("db", host("db-1", DB, networks=ROUTED), container("p1", "shop/db", "10.244.1.7"))
    own = HostNetwork(cidr="10.244.0.0/16")
    estate.tell("web", host("web-1", WEB, networks=(own,)))
    assert estate.to("10.244.1.7", 5432) is None


def test_behind_a_hosts_address_is_everybody_who_leaves_by_it() -> None:
    estate = Estate()
    mixed = (DOCKER, *ROUTED)
    estate.tell(
        "db", host("db-1", DB, networks=mixed),
        container("c1", "masqueraded", "172.17.0.2"), container("c2", "routed", "10.244.1.7"),
        container("c3", "both", "172.17.0.3", "10.244.1.8"),
        container("c4", "host-network", host_network=True, ports=[9100]),
        container("c5", "masqueraded", "172.17.0.9"), service("sshd", 22),
    )  # fmt: skip
    assert estate.names(DB) == ["both", "host-network", "masqueraded", "sshd"]
    assert estate.to(DB, 9100) == Found("db", nodes.app("host-network"), 9100, True)
    assert estate.whence(DB, asker="web") == Found("db", nodes.host("db", "db-1"), 0, False)
    # Nothing runs there that is known: the host itself.
    assert estate.names(WEB, asker="db") == ["web-1"]
    # Its network is routed now, so it is itself alone.
    estate.tell("db", host("db-1", DB, networks=ROUTED), at=NOW + 1)
    assert "both" in estate.names(DB)
    assert "routed" not in estate.names(DB)


def test_too_many_behind_an_address_are_some_and_more() -> None:
    estate = Estate()
    many = [service(f"s{n}", n + 1) for n in range(CANDIDATES_TOLD_MAX + 1)]
    estate.tell("db", None, *many)
    answer = estate.directory.answer("web", Sought(address=DB))
    assert len(answer.candidates) == CANDIDATES_TOLD_MAX
    assert answer.more


def test_a_flows_time_decides_whose_place_it_was() -> None:
    estate = Estate()
    published = [Published(port=8080, to=80)]
    old = container("c1", "old", "172.17.0.2", published=published)
    estate.tell("db", None, old)
    estate.tell("db", None, container("c1", "old", "172.17.0.2", published=published,
                                      stopped_at=NOW + 1000), at=NOW + 1500)  # fmt: skip
    estate.tell("db", None, container("c2", "new", "172.17.0.2", published=published,
                                      started_at=NOW + 1100), at=NOW + 1500)  # fmt: skip
    for at, name in ((NOW, "old"), (NOW + 1000, "old"), (NOW + 1001, "new"), (NOW + 9000, "new")):
        found = estate.to(DB, 8080, at=at)
        assert found is not None
        assert found.node.name == name, at
    assert estate.names(DB, 8080) == ["new"]


def test_who_listens_elsewhere_now_did_not_do_so_before() -> None:
    estate = Estate()
    estate.tell("db", None, service("one", 80), service("two"), at=NOW)
    estate.tell("db", None, service("one"), service("two", 80), at=NOW + 5000)
    for at, name in ((NOW, "one"), (NOW + 5001, "two")):
        found = estate.to(DB, 80, at=at)
        assert found is not None
        assert found.node.name == name


def test_two_who_listen_on_one_port_are_both_answered_and_neither_named() -> None:
    estate = Estate()
    estate.tell("db", None, service("one", 80), service("two", 80))
    found = estate.to(DB, 80)
    assert found is not None
    assert not found.exact
    assert estate.names(DB, 80) == ["one", "two"]


def test_old_news_may_name_what_is_over_and_nothing_else() -> None:
    estate = Estate()
    published = [Published(port=8080, to=80)]
    estate.tell("db", None, container("c2", "new", published=published), at=NOW)
    late = container("c1", "old", published=published, started_at=NOW - 90_000)
    estate.tell("db", host("renamed", "192.0.2.99"), late, at=NOW - 70_000, snapshot=True)
    assert estate.names(DB, 8080) == ["new"]
    for at, name in ((NOW - 75_000, "old"), (NOW, "new")):
        found = estate.to(DB, 8080, at=at)
        assert found is not None
        assert found.node.name == name


def test_a_snapshot_ends_what_it_does_not_name() -> None:
    estate = Estate()
    estate.tell("db", None, service("sshd", 22), service("nginx", 80))
    estate.tell("db", None, service("sshd", 22), at=NOW + 1, snapshot=True)
    assert estate.names(DB, 80) == ["db-1"]
    assert estate.names(DB, 22) == ["sshd"]


def test_who_is_removed_is_nowhere() -> None:
    estate = Estate()
    estate.tell("db", host("db-1", DB, networks=ROUTED), container("p1", "shop/db", "10.244.1.7"),
                service("sshd", 22))  # fmt: skip
    estate.directory.take_stale()
    estate.directory.remove("db")
    assert estate.to(DB, 22) is None
    assert estate.to("10.244.1.7", 80) is None
    assert {DB, "10.244.1.7"} <= estate.directory.take_stale()
    assert estate.names(DB) == []


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIRECTORY_FORMER_MAX", 3)
    monkeypatch.setattr(limits, "DIRECTORY_RESIDENTS_MAX", 5)
    estate = Estate()
    for n in range(20):
        estate.tell("db", None, container(f"c{n}", f"app-{n}", published=[
            Published(port=1000 + n, to=80)]), at=NOW + n, snapshot=True)  # fmt: skip
    kept = [n for n in range(20) if (found := estate.to(DB, 1000 + n)) and found.exact]
    assert kept == [16, 17, 18, 19]
    estate.tell("db", None, *(service(f"s{n}", n + 1) for n in range(9)), at=NOW + 50,
                snapshot=True)  # fmt: skip
    assert len(estate.names(DB)) <= 5


def test_the_generation_grows_with_what_an_answer_depends_on_alone() -> None:
    estate = Estate()
    estate.directory.take_stale()
    before = estate.directory.generation
    estate.tell("db", host("db-1", DB, "172.17.0.1"), at=NOW + 1)
    assert (estate.directory.generation, estate.directory.take_stale()) == (before, set())
    estate.tell("db", None, service("sshd", 22), at=NOW + 2)
    assert estate.directory.generation > before
    assert estate.directory.take_stale() == {DB}
    before = estate.directory.generation
    estate.tell("db", None, service("sshd", 22), at=NOW + 3)
    assert (estate.directory.generation, estate.directory.take_stale()) == (before, set())


def test_public_hosts_are_told_widened_when_they_are_many() -> None:
    estate = Estate()
    assert estate.directory.public == (f"{WEB}/32", f"{DB}/32")
    for n in range(600):
        estate.tell(f"d{n}", host(f"h{n}", f"198.51.{n % 100}.{2 * (n // 100)}", networks=()))
    assert 0 < len(estate.directory.public) <= 256
    estate = Estate()
    estate.tell("six", host("six", "2001:db8::1", "10.0.0.1", networks=()))
    assert estate.directory.public == (f"{WEB}/32", f"{DB}/32", "2001:db8::1/128")


# --- questions


def test_answers_are_what_a_defender_reads() -> None:
    estate = Estate()
    estate.tell("db", None, service("sshd", 22))
    asked = Question(sought=[Sought(address=DB, port=22), Sought(address="10.9.9.9", port=1)])
    question = questions.read(encode_json(asked))
    body, addresses = questions.answer(estate.directory, "web", question)
    answers = decode_answers(body)
    assert addresses == [DB, "10.9.9.9"]
    assert answers.generation == estate.directory.generation
    assert answers.public == [f"{WEB}/32", f"{DB}/32"]
    assert [[(one.name, one.host) for one in answer.candidates] for answer in answers.answers] == [
        [("sshd", "db-1")], [],
    ]  # fmt: skip
    empty, _ = questions.answer(estate.directory, "web", Question())
    assert decode_answers(empty).answers == []


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWERS_BYTES_MAX", 300)
    estate = Estate()
    asked = Question(sought=[Sought(address=DB, port=port) for port in range(1, 30)])
    body, addresses = questions.answer(estate.directory, "web", asked)
    assert 0 < len(decode_answers(body).answers) == len(addresses) < 29


@pytest.mark.parametrize("address", [WEB, f"::ffff:{WEB}", "172.17.0.1", "172.17.200.2"])
def test_who_asks_for_its_own_host_is_refused(address: str) -> None:
    asked = Question(sought=[Sought(address=DB, port=1), Sought(address=address)])
    with pytest.raises(Refused, match="own host") as refusal:
        questions.answer(Estate().directory, "web", asked)
    assert refusal.value.where == "sought[1]"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedMessage),
        (b"[]", MalformedMessage),
        (b'{"sought": 7}', MalformedMessage),
        (b'{"sought": [{"address": "nowhere"}]}', MalformedMessage),
        (b'{"sought": [{"address": "10.0.0.1", "port": 65536}]}', MalformedMessage),
        (b'{"sought": [{"address": "10.0.0.1", "protocol": "x"}]}', MalformedMessage),
        (b'{"version": 99}', UnsupportedVersion),
        (b"[" * 100_000, MalformedMessage),
        (b" " * (limits.QUESTION_BYTES_MAX + 1), MessageTooLarge),
        (encode_json(Question(sought=[Sought(address="10.0.0.1")] * 1001)), MessageTooLarge),
    ],
    ids=range(10),
)
def test_what_is_no_question_is_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        questions.read(body)


# --- the whole against a slow reference

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2", "172.17.0.2")
NETWORKS = (("10.1.0.0/24", True), ("10.1.0.0/24", False), ("172.17.0.0/16", False))
told = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.one_of(
            st.tuples(
                st.lists(st.sampled_from(ADDRESSES[:2]), max_size=2),
                st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True),
            ),
            st.tuples(
                st.integers(1, 3),
                st.lists(st.sampled_from(ADDRESSES[2:]), max_size=2),
                st.lists(st.integers(1, 2), max_size=2),
                st.booleans(),
            ),
        ),
    ),
    max_size=30,
)


@given(told)
def test_what_remains_does_not_depend_on_what_was_told_before(
    news: list[tuple[str, tuple]],  # type: ignore[type-arg]
) -> None:
    """A directory that saw every change answers as one that was told the outcome alone."""
    directory = Directory()
    infos: dict[str, HostInfo] = {}
    running: dict[str, dict[str, Instance]] = {}
    for at, (defender, change) in enumerate(news, NOW):
        if len(change) == 2:
            networks = [HostNetwork(cidr=cidr, routed=routed) for cidr, routed in change[1]]
            infos[defender] = HostInfo(name=defender, addresses=change[0], networks=networks)
            directory.tell(defender, infos[defender], [], snapshot=False, sent_at=at)
            continue
        number, addresses, ports, stops = change
        one = Instance(
            id=str(number), kind="container", name=f"app-{number}", addresses=addresses,
            published=[Published(port=port, to=80) for port in sorted(set(ports))],
            started_at=at, stopped_at=at if stops else 0,
        )  # fmt: skip
        directory.tell(defender, None, [one], snapshot=False, sent_at=at)
        here = running.setdefault(defender, {})
        here.pop(one.id, None)
        if not stops:
            here[one.id] = one
    fresh = Directory()
    for defender in sorted(infos.keys() | running.keys()):
        fresh.tell(
            defender, infos.get(defender), running.get(defender, {}).values(),
            snapshot=True, sent_at=NOW + 100,
        )  # fmt: skip
    for asker in ("a", "b", "c", "d"):
        for address in ADDRESSES:
            for port in (0, 1, 2, 3):
                sought = Sought(address=address, port=port)
                mine, theirs = (
                    sorted(one.name for one in each.answer(asker, sought).candidates)
                    for each in (directory, fresh)
                )
                assert mine == theirs, (asker, sought)
