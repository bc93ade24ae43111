"""The directory over the wire: asked with a Defender's certificate, stale on its stream."""

import time
from collections.abc import Callable

import pytest

from cnnf.cli.client import Client
from cnnf.protocol.directory import decode_stale
from cnnf.protocol.messages import HostInfo, HostNetwork, Instance, Published, Sought
from tests.contract.joined import Joined

Join = Callable[..., Joined]


def at(defender: Joined, address: str, *networks: HostNetwork) -> Joined:
    """The Defender with a host of its own."""
    defender.host = HostInfo(name=defender.host.name, addresses=[address], networks=list(networks))
    return defender


def test_a_defender_asks_and_is_told_within_a_second_what_is_stale(join: Join) -> None:
    web, db, other = (
        at(join(f"asked-{n}"), f"10.20.0.{n}", HostNetwork(cidr="172.17.0.0/16")) for n in (1, 2, 3)
    )
    for one in (web, other):
        one.post(one.batch())
    service = Instance(id="service:sshd", kind="service", name="sshd", ports=[22])
    db.post(db.batch(instances=[service], snapshot=True))
    end = Sought(address="10.20.0.2", port=22)
    with web.stream() as events, other.stream() as others:
        for stream in (events, others):
            assert [next(stream)[0] for _ in range(3)] == ["settings", "policy", "stale"]
        first = web.ask(end, Sought(address="10.99.0.1", port=1))
        assert [[one.name for one in answer.candidates] for answer in first.answers] == [
            ["sshd"], [],
        ]  # fmt: skip
        published = [Published(port=22, to=2222)]
        shop = Instance(id="c", kind="container", name="shop/ssh", published=published)
        db.post(db.batch(instances=[shop]))
        began = time.monotonic()
        name, data = next(events)
        assert time.monotonic() - began < 1
        stale = decode_stale(data)
        assert (name, stale.addresses, stale.everything) == ("stale", ["10.20.0.2"], False)
        second = web.ask(end)
        assert [one.name for one in second.answers[0].candidates] == ["shop/ssh"]
        assert second.generation >= stale.generation > first.generation
        # Who holds nothing of it hears nothing of it: the next that it hears of is its own.
        other.ask(Sought(address="10.99.0.7", port=1))
        newcomer = at(join("newcomer"), "10.99.0.7")
        newcomer.post(newcomer.batch())
        assert decode_stale(next(others)[1]).addresses == ["10.99.0.7"]


def test_a_removed_defender_is_nobody(join: Join, api: Client) -> None:
    web, gone = at(join("asks"), "10.21.0.1"), at(join("gone"), "10.21.0.2")
    for one in (web, gone):
        one.post(one.batch())
    end = Sought(address="10.21.0.2", port=1)
    assert len(web.ask(end).answers[0].candidates) == 1
    api.request("DELETE", f"/defenders/{gone.id}")
    assert web.ask(end).answers[0].candidates == []


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"nonsense", 400, "malformed"),
        (b'{"sought": [{"address": "10.22.0.1", "port": 1}]}', 400, "own host"),
        (b'{"sought": [{"address": "172.17.0.9"}]}', 400, "own host"),
        (b'{"sought": [' + b'{"address":"10.1.1.1"},' * 9_999 + b'{"address":"::1"}]}', 413,
         "at most 1000"),
        (b'{"sought": [], "version": 99}', 426, "version"),
        (b" " * 300_000, 413, "at most"),
    ],
    ids=["garbage", "own", "own-container", "many", "version", "large"],
)  # fmt: skip
def test_what_is_no_question_is_refused_by_its_reason(
    join: Join, body: bytes, status: int, says: str
) -> None:
    defender = at(join(), "10.22.0.1", HostNetwork(cidr="172.17.0.0/16"))
    defender.post(defender.batch())
    answer = defender.question(body)
    assert answer.status_code == status, answer.text
    assert says in answer.text
    assert defender.ask().answers == []


def test_only_json_is_a_question(join: Join) -> None:
    defender = join()
    answer = defender.http.post(
        "/defender/v1/directory", content=b"{}",
        headers={"Content-Type": "application/vnd.cnnf.batch+msgpack"},
    )  # fmt: skip
    assert answer.status_code == 415
