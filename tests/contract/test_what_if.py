"""Drafts judged against recorded flows: what every store hands over, and what the API answers."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cnnf.cli.client import Client
from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.recorded import Decided, Peer, Recorded, RecordedFlow, Side
from cnnf.console.errors import Refused
from cnnf.console.store.flows import FlowStore
from cnnf.policy.addresses import parse_address
from cnnf.protocol.messages import Endpoint, Flow, HostInfo, Instance
from tests.contract.conftest import ENVIRONMENT, RunningConsole
from tests.contract.joined import Joined
from tests.contract.test_api import shop, some_flow
from tests.contract.test_flow_store import (
    NOW,
    RUN_A,
    RUN_B,
    STORES,
    batch,
    container,
    flow,
    run,
)

Join = Callable[..., Joined]
PATH = "/policy/what-if"
YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FlowStore]:
    """An empty store."""
    made, close = STORES[request.param](tmp_path)
    yield made
    close()


def handed(
    store: FlowStore, length: int = limits.HOUR_MS, end: int = NOW + 1
) -> tuple[list[RecordedFlow], dict[str, Side]]:
    """The flows of a window, and those who were on their sides by the nodes' names."""

    def keep(recorded: Recorded) -> tuple[list[RecordedFlow], dict[str, Side]]:
        flows = list(recorded.flows)
        ends = {number for one in flows for number in (one.source, one.target)}
        sides = (recorded.sides[number] for number in ends)
        return flows, {side.node.name: side for side in sides}

    return run(store.recorded(windows.last(length, end), keep, lambda: None))


def test_a_flow_is_handed_over_once_with_all_its_decisions(store: FlowStore) -> None:
    apps = [container("c1", "front"), container("c2", "back")]
    decided = [
        flow("c1", "c2", connections=3, at=NOW - 90_000),
        flow("c1", "c2", connections=2, found=1),
        # A minute's decision is its most severe one.
        flow("c1", "c2", effect="alert", cause="rule:watch", connections=4),
        flow("c1", "c2", 81, answered=1, connections=0),
    ]
    run(store.append_batch("d", batch(1, instances=apps, flows=decided), NOW))
    flows, _ = handed(store)
    assert [(one.port, one.protocol, one.decided) for one in flows] == [
        (80, "tcp", (Decided(0, "", 3), Decided(2, "rule:watch", 7))),
        (81, "tcp", (Decided(0, "", 0),)),
    ]
    assert (flows[0].first_seen, flows[0].last_seen) == (NOW - 90_000, NOW)


def test_a_side_is_everybody_who_can_have_been_there(store: FlowStore) -> None:
    labels = {"tier": "web"}
    apps = [
        container("c1", "front", tag="1", digest="sha256:a", labels=labels, cluster="k",
                  namespace="prod", addresses=["172.17.0.2"], started_at=NOW - 5000),
        container("c2", "front", tag="2", cluster="k", namespace="prod", host_network=True),
        container("c3", "front", tag="3", cluster="k", namespace="prod",
                  started_at=NOW + 10 * limits.MINUTE_MS),
        container("c4", "back"),
    ]  # fmt: skip
    run(store.append_batch("d", batch(1, instances=apps, flows=[flow("c1", "c4")]), NOW))
    gone = [container("c2", "front", tag="2", cluster="k", namespace="prod", host_network=True,
                      stopped_at=NOW + 1)]  # fmt: skip
    run(store.append_batch("d", batch(2, instances=gone, sent_at=NOW + 2), NOW + 2))
    _, sides = handed(store)
    found = {
        (one.identity.tag, one.identity.labels, one.identity.host, str(one.address))
        for one in sides["front"].candidates
        if one.identity is not None
    }
    assert found == {
        ("1", (("tier", "web"),), "web-1", "172.17.0.2"),
        ("2", (), "web-1", "192.0.2.10"),
    }
    assert sides["front"].whole
    (one,) = {c.identity for c in sides["front"].candidates if c.identity and c.identity.digest}
    assert (one.kind, one.name, one.digest) == ("container", "front", "sha256:a")
    assert (one.cluster, one.namespace) == ("k", "prod")
    # Somebody who had stopped before the window was not there.
    later = [flow("c1", "c4", at=NOW + limits.DAY_MS)]
    run(store.append_batch("d", batch(3, flows=later, sent_at=NOW + 3), NOW + limits.DAY_MS))
    _, sides = handed(store, end=NOW + limits.DAY_MS + 1)
    assert {c.identity.tag for c in sides["front"].candidates if c.identity} == {"1", "3"}


def test_services_and_hosts_are_met_at_the_addresses_of_their_hosts(store: FlowStore) -> None:
    for defender, run_, name, address in (
        ("d", RUN_A, "web-1", "192.0.2.10"),
        ("e", RUN_B, "web-2", "192.0.2.11"),
    ):
        nginx = Instance(id="nginx", kind="service", name="nginx")
        flows = [flow("nginx", "10.9.9.9"), flow(address, "10.9.9.9")]
        told = batch(
            1, run_, host=HostInfo(name=name, addresses=[address]), instances=[nginx], flows=flows
        )
        run(store.append_batch(defender, told, NOW))
    _, sides = handed(store)
    assert {
        (c.identity.kind, c.identity.name, c.identity.host, str(c.address))
        for c in sides["nginx"].candidates
        if c.identity
    } == {
        ("service", "nginx", "web-1", "192.0.2.10"),
        ("service", "nginx", "web-2", "192.0.2.11"),
    }
    (host,) = sides["web-2"].candidates
    assert host.identity is not None
    assert (host.identity.kind, host.identity.name, host.identity.host, str(host.address)) == (
        "host", "web-2", "web-2", "192.0.2.11",
    )  # fmt: skip
    (inside,) = sides["10.9.9.9"].candidates
    assert (inside.identity, inside.address) == (None, parse_address("10.9.9.9"))


def test_peers_come_with_the_flow_that_met_them(store: FlowStore) -> None:
    apps = [container("c1", "front"), container("c2", "back")]

    def out(port: int, address: str, *names: str) -> Flow:
        return Flow(
            source=Endpoint(instance="c1"),
            destination=Endpoint(address=address, names=names),
            port=port, connections=1, first_seen=NOW, last_seen=NOW,
        )  # fmt: skip

    flows = [
        out(443, "203.0.113.7", "api.pay.example"),
        out(443, "203.0.113.8"),
        flow("c1", "c2", 80),
        out(8443, "203.0.113.9"),
        out(5432, "10.9.9.9", "db.example"),
    ]
    run(store.append_batch("d", batch(1, instances=apps, flows=flows), NOW))
    found, sides = handed(store)
    assert {one.port: set(one.peers) for one in found} == {
        443: {Peer("203.0.113.7", ("api.pay.example",)), Peer("203.0.113.8")},
        80: set(),
        8443: {Peer("203.0.113.9")},
        5432: {Peer("10.9.9.9", ("db.example",))},
    }
    assert sides["internet"].candidates == ()


def test_reading_ends_where_the_check_says_so(store: FlowStore) -> None:
    apps = [container("c1", "front"), container("c2", "back")]
    flows = [flow("c1", "c2", port) for port in range(1, 2000)]
    run(store.append_batch("d", batch(1, instances=apps, flows=flows), NOW))

    def check() -> None:
        raise Refused("enough")

    window = windows.last(limits.HOUR_MS, NOW + 1)
    with pytest.raises(Refused, match="enough"):
        run(store.recorded(window, lambda recorded: list(recorded.flows), check))
    # Whoever reads next is not in the way of what was left behind.
    for _ in range(3):
        with pytest.raises(Refused, match="enough"):
            run(store.recorded(window, lambda recorded: list(recorded.flows), check))
        assert len(handed(store)[0]) == 1999


# -- the API ----------------------------------------------------------------------------------

DRAFT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: front, type: image, values: ["NAME/front:1"]}
  - {name: back, type: image, values: [NAME/back]}
rules:
  containers:
    - {name: stop, source: [front], destination: [back], ports: [8080], effect: prevent}
    - {name: watch, source: [front], destination: [back], ports: [8081], effect: alert}
"""


def draft(name: str) -> bytes:
    return DRAFT.replace("NAME", name).encode()


def ask(api: Client, body: bytes, **query: str) -> Any:
    return api.request("POST", PATH, content=body, headers=YAML, params=query)


def told(comparison: Any) -> dict[str, list[tuple[str, str, int, int, str]]]:
    return {
        kind: [
            (one["source"]["name"], one["destination"]["name"], one["port"], one["connections"],
             one["cause"])
            for one in newly["listed"]
        ]
        for kind, newly in comparison.items()
    }  # fmt: skip


def test_a_draft_is_judged_against_what_was_recorded(api: Client, join: Join) -> None:
    joined = join("web-wi")
    flows = [some_flow("c1", "c2", port, connections=port) for port in (8080, 8081, 8082)]
    joined.post(joined.batch(instances=shop("wi"), flows=flows))
    found = ask(api, draft("wi"), window="1h")
    wanted = {
        "prevented": [("wi/front", "wi/back", 8080, 8080, "rule:stop")],
        "alerted": [("wi/front", "wi/back", 8081, 8081, "rule:watch")],
        "allowed": [],
    }
    assert told(found["policy"]) == wanted
    assert told(found["recorded"]) == wanted
    assert found["judged"]["flows"] >= 3
    assert found["version"] >= 1
    # The same as JSON, and over a window in which nothing was.
    as_json = {"apiVersion": "cnnf/v1"}
    assert api.request("POST", PATH, json=as_json)["policy"]["prevented"]["flows"] == 0
    long_ago = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert ask(api, draft("wi"), **long_ago)["judged"]["flows"] == 0


@pytest.mark.parametrize(
    ("against", "fail_on", "code"),
    [("policy", "prevent", 1), ("recorded", "alert", 1), ("policy", "any", 1)],
)
def test_the_command_says_by_its_exit_code_what_is_new(
    console: RunningConsole, join: Join, tmp_path: Path, against: str, fail_on: str, code: int
) -> None:
    joined = join("web-cli")
    flows = [some_flow("c1", "c2", 8080, connections=7)]
    joined.post(joined.batch(instances=shop("cli"), flows=flows))

    def asked(text: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "draft.yaml").write_bytes(text)
        arguments = [
            "policy", "what-if", str(tmp_path / "draft.yaml"), "--window", "1h",
            "--data-dir", str(console.data_dir), "--against", against, "--fail-on", fail_on,
        ]  # fmt: skip
        program = [sys.executable, "-c", "from cnnf.cli.main import main; main()"]
        return subprocess.run(
            [*program, *arguments], capture_output=True, text=True, timeout=60, env=ENVIRONMENT,
            check=False,
        )  # fmt: skip

    new = asked(draft("cli"))
    assert (new.returncode, new.stderr) == (code, "")
    assert "newly prevented: 1 flow with" in new.stdout
    assert "rule:stop" in new.stdout
    nothing = asked(b"apiVersion: cnnf/v1\n")
    assert (nothing.returncode, nothing.stderr) == (0, "")
    assert "Nothing new." in nothing.stdout


@pytest.mark.parametrize(
    ("body", "status", "code", "where"),
    [
        (b"rules: {containers: [{name: a}]}\n", 400, "invalid-policy", "body:1:"),
        (b"", 400, "invalid-policy", "body:"),
        (b"\xff\xfe", 400, "invalid-policy", "body:"),
        (b"#" * (16 * 1024 * 1024 + 1), 413, "too-large", ""),
    ],
)
def test_a_bad_draft_is_refused_where_it_is_bad(
    console: RunningConsole, body: bytes, status: int, code: str, where: str
) -> None:
    with console.raw() as http:
        answer = http.post(f"/api/v1{PATH}", content=body, headers=YAML)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert error["where"].startswith(where)
        text = http.post(f"/api/v1{PATH}", content=b"a", headers={"Content-Type": "text/plain"})
        assert text.status_code == 415
        # Others take no more and nothing else than before.
        other = http.post("/api/v1/defenders/tokens", content=b"{}", headers=YAML)
        assert other.status_code == 415


def test_nobody_judges_who_is_not_known(console: RunningConsole) -> None:
    with console.raw(token=False) as http:
        answer = http.post(f"/api/v1{PATH}", content=draft("x"), headers=YAML)
        assert answer.status_code == 401


def big(rules: int) -> bytes:
    """A draft that takes a while to read."""
    lines = ["apiVersion: cnnf/v1", "networkObjects:"]
    lines += [f"  - {{name: o{n}, type: image, values: [i{n}]}}" for n in range(rules)]
    lines += ["rules:", "  containers:"]
    lines += [f"    - {{name: r{n}, source: [o{n}], effect: alert}}" for n in range(rules)]
    return "\n".join(lines).encode()


def test_one_draft_at_a_time_and_the_others_are_told_to_wait(console: RunningConsole) -> None:
    body = big(5000)
    statuses: list[int] = []

    def post() -> None:
        with console.raw() as http:
            answer = http.post(f"/api/v1{PATH}", content=body, headers=YAML, timeout=60)
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) > 0
                assert answer.json()["error"]["code"] == "too-many-requests"

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 429}


def test_whoever_goes_away_leaves_room_for_the_next(console: RunningConsole) -> None:
    with console.raw() as http:
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                http.post(
                    f"/api/v1{PATH}", content=big(5000), headers=YAML,
                    timeout=httpx.Timeout(20, read=0.2),
                )  # fmt: skip
            deadline = time.monotonic() + 30
            while True:
                answer = http.post(f"/api/v1{PATH}", content=draft("x"), headers=YAML, timeout=30)
                if answer.status_code == 200 or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
            assert answer.status_code == 200
        assert "Task exception" not in console.log.read_text()
