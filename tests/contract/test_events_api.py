"""Events from a Defender's batch to the API, the stream and the terminal, on a real Console."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import pytest

from cnnf.cli.client import Client
from cnnf.protocol.messages import Endpoint, Flow, Instance, Process
from tests.contract.conftest import ENVIRONMENT, RunningConsole, command
from tests.contract.joined import Joined, now_ms
from tests.contract.test_api import error, stream

Join = Callable[..., Joined]


class Estate:
    """Two apps of one Defender, with names of their own, and what is prevented between them."""

    def __init__(self, join: Join, prefix: str) -> None:
        self.prefix = prefix
        self.defender = join(f"{prefix}-host")
        self.defender.post(
            self.defender.batch(
                snapshot=True,
                instances=[
                    Instance(id="c1", kind="container", name=f"{prefix}/front", tag="1"),
                    Instance(id="c2", kind="container", name=f"{prefix}/back", tag="1"),
                ],
            )
        )

    def happens(self, port: int = 80, **more: Any) -> None:
        """The Defender reports that something was prevented just now."""
        now = now_ms()
        values: dict[str, Any] = {
            "source": Endpoint(instance="c1", address="172.18.0.2"),
            "destination": Endpoint(instance="c2", address="172.18.0.3"),
            "port": port,
            "connections": 1,
            "refused": 1,
            "effect": "prevent",
            "cause": "rule:no-database",
            "first_seen": now,
            "last_seen": now,
        } | more
        self.defender.post(self.defender.batch(flows=[Flow(**values)]))


@pytest.fixture
def estate(join: Join, request: pytest.FixtureRequest) -> Estate:
    """An estate for one test; names hold nothing that a shell or a pattern would take apart."""
    return Estate(join, f"e{crc32(request.node.name.encode())}")


def test_an_event_in_the_form_that_is_promised(api: Client, estate: Estate) -> None:
    process = Process(pid=7, executable="/bin/front", command="front -v", user="www")
    estate.happens(connections=2, process=process)
    estate.happens(connections=3, cut=1)
    (event,) = api.get("/events", name=estate.prefix)
    assert event.keys() == {
        "id", "kind", "effect", "cause", "source", "destination", "port", "protocol",
        "first_seen", "last_seen", "count", "cut", "defender", "defender_name", "cursor",
    }  # fmt: skip
    told = ("kind", "effect", "cause", "port", "protocol", "count", "cut")
    assert [event[field] for field in told] == [
        "rule", "prevent", "rule:no-database", 80, "tcp", 6, 1,
    ]  # fmt: skip
    assert event["source"] == {
        "name": f"{estate.prefix}/front", "kind": "app", "address": "172.18.0.2",
        "host": f"{estate.prefix}-host", "process": "front -v", "pid": 7, "user": "www",
        "names": [],
    }  # fmt: skip
    assert event["destination"]["process"] == ""
    assert event["first_seen"] < event["last_seen"]
    assert (event["defender"], event["defender_name"]) == (
        estate.defender.id,
        f"{estate.prefix}-host",
    )


def test_a_batch_sent_again_is_no_repeat(api: Client, estate: Estate) -> None:
    now = now_ms()
    flow = Flow(source=Endpoint(instance="c1"), destination=Endpoint(instance="c2"), port=5,
                connections=4, effect="alert", cause="rule:look",
                first_seen=now, last_seen=now)  # fmt: skip
    batch = estate.defender.batch(flows=[flow])
    for _ in range(3):
        estate.defender.post(batch)
    assert [event["count"] for event in api.get("/events", name=estate.prefix)] == [4]


def test_the_graph_says_what_was_decided_and_how_it_ended(api: Client, estate: Estate) -> None:
    estate.happens(connections=5, answered=2, refused=3)
    estate.happens(81, effect="allow", cause="rule:yes", answered=1, refused=0)
    graph = api.get("/radar", view="containers")
    ids = {node["name"]: node["id"] for node in graph["nodes"]}
    source, target = ids[f"{estate.prefix}/front"], ids[f"{estate.prefix}/back"]
    (edge,) = [e for e in graph["edges"] if e["source"] == source]
    told = [(p["port"], p["verdict"], p["cause"], p["connections"], p["answered"], p["refused"])
            for p in edge["ports"]]  # fmt: skip
    assert told == [
        (80, "prevent", "rule:no-database", 5, 2, 3),
        (81, "allow", "rule:yes", 1, 1, 0),
    ]
    assert [n["name"] for n in graph["nodes"] if n["incident"] and n["id"] in (source, target)] == [
        f"{estate.prefix}/front"
    ]
    detail = api.get(f"/radar/nodes/{source}")
    assert detail["node"]["incident"]
    assert detail["outbound"][0]["ports"][0]["port"]["verdict"] == "prevent"
    assert not api.get(f"/radar/nodes/{target}")["node"]["incident"]
    (bucket,) = api.get("/radar/history", source=source, target=target)["buckets"][-1:]
    assert bucket["answered"] >= 1


def test_filters_and_pages(api: Client, estate: Estate) -> None:
    for port in range(1, 8):
        estate.happens(port, effect="alert" if port % 2 else "prevent")

    def ports(**query: str) -> list[int]:
        return [event["port"] for event in api.get("/events", name=estate.prefix, **query)]

    assert ports() == [7, 6, 5, 4, 3, 2, 1]
    assert ports(effect="alert") == [7, 5, 3, 1]
    assert ports(kind="rule", effect="prevent") == [6, 4, 2]
    assert ports(kind="model") == []
    assert ports(since="1h") == [7, 6, 5, 4, 3, 2, 1]
    assert ports(until="1h") == ports(since="2200-01-01T00:00:00Z") == []
    assert [e["port"] for e in api.get("/events", name=f"{estate.prefix}/BACK", limit="1")] == [7]
    first = api.get("/events", name=estate.prefix, limit="3")
    second = api.get("/events", name=estate.prefix, limit="3", cursor=first[-1]["cursor"])
    third = api.get("/events", name=estate.prefix, limit="3", cursor=second[-1]["cursor"])
    assert [event["port"] for event in [*first, *second, *third]] == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("path", "query", "where"),
    [
        ("events", "limit=0", "query.limit"),
        ("events", "limit=501", "query.limit"),
        ("events", "limit=many", "query.limit"),
        ("events", "cursor=x", "query.cursor"),
        ("events", "cursor=1-2-3", "query.cursor"),
        ("events", "cursor=" + "9" * 41, "query.cursor"),
        *(
            (path, query, where)
            for path in ("events", "events/stream")
            for query, where in (
                ("effect=allow", "query.effect"),
                ("kind=thing", "query.kind"),
                ("since=yesterday", "query.since"),
                ("until=", "query.until"),
                ("since=1h&until=2h", "query.until"),
                ("name=" + "x" * 201, "query.name"),
            )
        ),
    ],
)
def test_bad_input_says_where(console: RunningConsole, path: str, query: str, where: str) -> None:
    with console.raw() as http:
        answer = http.get(f"/api/v1/{path}?{query}")
        assert answer.status_code == 400
        assert error(answer)["where"] == where


@pytest.mark.parametrize(
    ("bad", "status"),
    [({"answered": -1}, 400), ({"refused": 2**60}, 400), ({"cut": -5}, 400),
     ({"cause": "rule:" + "x" * 600}, 413)],
)  # fmt: skip
def test_impossible_outcomes_change_nothing(
    api: Client, estate: Estate, bad: dict[str, Any], status: int
) -> None:
    now = now_ms()
    values: dict[str, Any] = {"effect": "prevent", "cause": "rule:x", "connections": 1} | bad
    flow = Flow(source=Endpoint(instance="c1"), destination=Endpoint(instance="c2"), port=1,
                first_seen=now, last_seen=now, **values)  # fmt: skip
    answer = estate.defender.send(estate.defender.batch(flows=[flow]))
    assert answer.status_code == status
    assert "flows[0]" in error(answer)["message"]
    assert api.get("/events", name=estate.prefix) == []


def test_an_event_is_on_the_stream_within_a_second(console: RunningConsole, estate: Estate) -> None:
    estate.happens(1)
    path, query = "events/stream", {"name": estate.prefix, "effect": "prevent"}
    with console.raw() as http, stream(http, path=path, **query) as events:
        name, first_id, page = next(events)
        assert (name, [event["port"] for event in page]) == ("events", [1])
        estate.happens(2, effect="alert")
        for port in (3, 1):
            started = time.monotonic()
            estate.happens(port)
            name, last_id, changed = next(events)
            assert (name, [event["port"] for event in changed]) == ("change", [port])
            assert time.monotonic() - started < 1.5
        assert changed[0]["count"] == 2
    estate.happens(4)
    with console.raw() as http, stream(http, last_id, path=path, **query) as events:
        name, _, changed = next(events)
        assert (name, [event["port"] for event in changed]) == ("change", [4])
    with console.raw() as http, stream(http, first_id, path=path, **query) as events:
        name, _, changed = next(events)
        assert (name, [event["port"] for event in changed]) == ("change", [3, 1, 4])
    for other in ("9" * 16, "none", "1-1"):
        with console.raw() as http, stream(http, other, path=path, **query) as events:
            assert [next(events)[0] for _ in range(2)] == ["resync", "events"]


def cnnf(console: RunningConsole, *arguments: str) -> list[str]:
    """The command line of `cnnf events` on this Console."""
    start = command(console.data_dir)
    return [*start[: start.index("console")], "events", "--data-dir", str(console.data_dir),
            *arguments]  # fmt: skip


def run(console: RunningConsole, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        cnnf(console, *arguments), capture_output=True, text=True, timeout=30,
        env=ENVIRONMENT, check=False,
    )  # fmt: skip


def test_the_terminal_shows_the_same(console: RunningConsole, api: Client, estate: Estate) -> None:
    for port in (1, 2, 3):
        estate.happens(port, effect="alert" if port == 2 else "prevent")
    told = run(console, "--name", estate.prefix, "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout) == api.get("/events", name=estate.prefix)
    some = run(console, "--name", estate.prefix, "--effect", "prevent", "--limit", "1", "--json")
    assert [event["port"] for event in json.loads(some.stdout)] == [3]
    shown = run(console, "--name", estate.prefix, "--since", "1h")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) == 4
    assert f"{estate.prefix}/front" in shown.stdout
    assert "rule:no-database" in shown.stdout
    nothing = run(console, "--name", f"{estate.prefix}-none")
    assert (nothing.returncode, nothing.stdout) == (0, "No event is of that kind.\n")
    assert json.loads(run(console, "--name", f"{estate.prefix}-none", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--effect", "allow"), 2, "effect"),
        (("--limit", "0"), 2, "limit"),
        (("--since", "yesterday"), 1, "is no time"),
        (("--follow", "--since", "yesterday"), 1, "is no time"),
        (("--console", "http://127.0.0.1:1"), 1, "does not answer"),
        (("--follow", "--console", "http://127.0.0.1:1"), 1, "does not answer"),
    ],
)
def test_what_cannot_be_is_said(
    console: RunningConsole, arguments: tuple[str, ...], status: int, says: str
) -> None:
    told = run(console, *arguments)
    assert told.returncode == status
    assert says in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""


@contextmanager
def following(console: RunningConsole, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        cnnf(console, "--follow", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_following_goes_on_until_ctrl_c(console: RunningConsole, estate: Estate) -> None:
    for port in (1, 2, 3):
        estate.happens(port)
    with following(console, "--name", estate.prefix, "--json", "--limit", "2") as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["port"] for _ in range(2)] == [2, 3]
        estate.happens(4)
        assert json.loads(process.stdout.readline())["port"] == 4
        estate.happens(2)
        again = json.loads(process.stdout.readline())
        assert (again["port"], again["count"]) == (2, 2)
        os.kill(process.pid, signal.SIGINT)
        rest, said = process.communicate(timeout=10)
        assert (process.returncode, rest, said) == (130, "", "")


def test_following_in_words(console: RunningConsole, estate: Estate) -> None:
    estate.happens(1)
    with following(console, "--name", estate.prefix) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"prevented  {estate.prefix}/front → {estate.prefix}/back port 1" in line
