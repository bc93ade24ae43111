"""The API as a browser and the command line meet it, on a real Console."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from cnnf.cli.client import Client
from cnnf.protocol.messages import Endpoint, Flow, Instance, Settings
from tests.contract.conftest import RunningConsole
from tests.contract.joined import Joined, now_ms

Join = Callable[..., Joined]


def shop(prefix: str) -> list[Instance]:
    """Two containers and a service."""
    return [
        Instance(id="c1", kind="container", name=f"{prefix}/front", tag="1", project="shop"),
        Instance(id="c2", kind="container", name=f"{prefix}/back", tag="2"),
        Instance(id="service:nginx", kind="service", name=f"{prefix}-nginx"),
    ]


def some_flow(source: str, target: str, port: int = 80, connections: int = 1) -> Flow:
    """A flow between instances, or from an address."""

    def end(name: str) -> Endpoint:
        return Endpoint(address=name) if name[0].isdigit() else Endpoint(instance=name)

    return Flow(
        source=end(source),
        destination=end(target),
        port=port,
        connections=connections,
        first_seen=now_ms(),
        last_seen=now_ms(),
    )


@contextmanager
def stream(
    http: httpx.Client, last_id: str = "", path: str = "radar/stream", **query: str
) -> Iterator[Iterator[tuple[str, str, Any]]]:
    """A stream's events as (name, id, data), the live graph's unless another is named."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with http.stream("GET", f"/api/v1/{path}", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        def events() -> Iterator[tuple[str, str, Any]]:
            name, id_ = "", ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("id: "):
                    id_ = line[4:]
                elif line.startswith("data: "):
                    yield name, id_, json.loads(line[6:])

        yield events()


def error(answer: httpx.Response) -> dict[str, str]:
    """The one error shape, checked."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "where"}
    assert body["error"]["message"]
    found: dict[str, str] = body["error"]
    return found


def test_health_needs_no_account_and_everything_else_does(console: RunningConsole) -> None:
    with console.raw(token=False) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        for path in ("radar", "radar/stream", "settings", "defenders", "audit", "session",
                     "radar/nodes/internet", "events", "events/stream", "policy", "policy/versions",
                     "policy/objects", "policy/rules", "policy/hits", "policy/quarantine",
                     "openapi.json"):  # fmt: skip
            answer = http.get(f"/api/v1/{path}")
            assert answer.status_code == 401, path
            assert error(answer)["code"] == "unauthenticated"
        answer = http.get("/api/v1/radar", headers={"Authorization": "Bearer cnnf_wrong"})
        assert answer.status_code == 401
        answer = http.get("/api/v1/radar", headers={"Cookie": "cnnf_session=wrong"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("view=pods", "query.view"),
        ("window=1x", "query.window"),
        ("window=4m", "query.window"),
        ("window=32d", "query.window"),
        ("window=", "query.window"),
        ("window=99999999999999m", "query.window"),
        ("window=%D9%A1h", "query.window"),
        ("from=yesterday", "query.from"),
        ("from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "query.from"),
        ("to=2026-01-01T00:00:00Z", "query.to"),
        ("from=0001-01-01T00:00:00Z", "query.from"),
        ("from=9999-12-31T23:59:59Z", "query.from"),
        ("all=perhaps", "query.all"),
    ],
)
def test_malformed_queries_say_where(console: RunningConsole, query: str, where: str) -> None:
    with console.raw() as http:
        answer = http.get(f"/api/v1/radar?{query}")
        assert answer.status_code == 400
        assert error(answer)["where"] == where


def test_what_is_not_there_says_so(console: RunningConsole) -> None:
    with console.raw() as http:
        for method, path, status in (
            ("GET", "/api/v1/nothing", 404),
            ("POST", "/api/v1/nothing", 404),
            ("GET", "/api", 404),
            ("DELETE", "/api/v1/radar", 405),
            ("GET", "/api/v1/radar/nodes/app:none", 404),
        ):
            answer = http.request(method, path)
            assert answer.status_code == status, path
            error(answer)
        big = http.put("/api/v1/settings", content=b"{" + b" " * 70_000 + b"}",
                       headers={"Content-Type": "application/json"})  # fmt: skip
        assert (big.status_code, error(big)["code"]) == (413, "too-large")
        form = http.put("/api/v1/settings", data={"containers": "true"})
        assert (form.status_code, error(form)["code"]) == (415, "unsupported-media-type")
        for body in ("{", '"text"', '{"containers": true}', '{"containers": 1, "x": 2}'):
            answer = http.put("/api/v1/settings", content=body,
                              headers={"Content-Type": "application/json"})  # fmt: skip
            assert answer.status_code == 400
            assert error(answer)["where"].startswith("body")


def test_bytes_that_are_no_request_get_the_one_shape(console: RunningConsole) -> None:
    import socket

    host, _, port = console.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad-request"


def test_security_headers_are_on_every_answer(console: RunningConsole) -> None:
    with console.raw(token=False) as http:
        for path in ("/", "/healthz", "/api/v1/radar", "/api/v1/nothing"):
            headers = http.get(path).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers


def log_in(http: httpx.Client, password: str) -> httpx.Response:
    return http.post("/api/v1/session", json={"username": "admin", "password": password})


def test_a_session_from_login_to_logout(console: RunningConsole) -> None:
    with console.raw(token=False) as http:
        answer = log_in(http, console.password)
        assert answer.json() == {"user": "admin", "role": "admin"}
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert http.get("/api/v1/session").json() == {"user": "admin", "role": "admin"}
        settings = http.get("/api/v1/settings").json()
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            refused = http.put("/api/v1/settings", json=settings, headers=headers)
            assert refused.status_code == 403, headers
        own = {"Origin": console.url}
        assert http.put("/api/v1/settings", json=settings, headers=own).status_code == 200
        kept = f"cnnf_session={http.cookies['cnnf_session']}"
        assert http.delete("/api/v1/session", headers=own).status_code == 204
    with console.raw(token=False) as http:
        assert http.get("/api/v1/session", headers={"Cookie": kept}).status_code == 401


def test_guessing_is_slowed_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    running = RunningConsole(tmp_path_factory.mktemp("guess") / "data")
    try:
        with running.raw(token=False) as http:
            statuses = [log_in(http, f"wrong{n}").status_code for n in range(12)]
            assert statuses == [401] * 10 + [429] * 2
            answer = log_in(http, running.password)
            assert error(answer)["code"] == "too-many-requests"
            assert int(answer.headers["retry-after"]) > 0
        secrets = running.password, (running.data_dir / "cli-token").read_text().strip()
        log = running.log.read_text()
        assert not any(secret in log for secret in secrets)
    finally:
        running.stop()


def test_settings_are_changed_once_and_audited(api: Client, console: RunningConsole) -> None:
    before = api.get("/settings")
    changed = api.put("/settings", {**before, "hosts": not before["hosts"]})
    assert changed == {**before, "hosts": not before["hosts"], "version": before["version"] + 1}
    with console.raw() as http:
        answer = http.put("/api/v1/settings", json=before)
        assert (answer.status_code, error(answer)["code"]) == (409, "version-conflict")
    entry = api.get("/audit", count="1")[0]
    assert (entry["action"], entry["actor"]) == ("settings.change", "token:command line")
    assert entry["detail"]["after"]["hosts"] is changed["hosts"]


def test_refusal_is_a_setting_that_defenders_are_told(
    api: Client, console: RunningConsole, join: Join
) -> None:
    before = api.get("/settings")
    assert (before["udp"], before["refuse_with"], before["cut"]) == (False, "reset", True)
    short = {part: before[part] for part in ("containers", "hosts")}
    with join("told-host").listen() as told:
        assert next(told).generation == before["version"]
        wanted = {"udp": True, "refuse_with": "drop", "cut": False}
        changed = api.put("/settings", {**short, **wanted, "version": before["version"]})
        assert changed == {**before, **wanted, "version": before["version"] + 1}
        assert next(told) == Settings(
            generation=changed["version"], containers=before["containers"], hosts=before["hosts"],
            udp=True, refuse_with="drop", cut=False,
        )  # fmt: skip
        # What is left out stays; what is the same makes no new generation.
        same = api.put("/settings", {**short, "cut": None, "version": changed["version"]})
        assert same == changed
        with console.raw() as http:
            for bad in ({"refuse_with": "ignore"}, {"udp": "perhaps"}, {"cut": 7}, {"dns": True}):
                answer = http.put("/api/v1/settings", json={**changed, **bad})
                assert answer.status_code == 400, bad
                assert error(answer)["where"] == f"body.{next(iter(bad))}"
        assert api.get("/settings") == changed
        api.put("/settings", {**before, "version": changed["version"]})
        assert next(told).refuse_with == "reset"
    after = api.get("/audit", count="1")[0]["detail"]
    assert (after["before"]["refuse_with"], after["after"]["refuse_with"]) == ("drop", "reset")


def test_views_show_what_they_are_about(api: Client, join: Join) -> None:
    defender = join("view-host")
    flows = [
        some_flow("c1", "c2", 81, 5),
        some_flow("service:nginx", "c1", 80),
        some_flow("198.51.100.9", "service:nginx", 443),
        some_flow("c2", "198.51.100.9", 443),
    ]
    defender.post(defender.batch(instances=shop("view"), snapshot=True, flows=flows))

    def drawn(view: str) -> set[tuple[str, str]]:
        graph = api.get("/radar", view=view)
        names = {node["id"]: node["name"] for node in graph["nodes"]}
        ends = [(names[e["source"]], names[e["target"]]) for e in graph["edges"]]
        return {pair for pair in ends if any(name.startswith("view") for name in pair)}

    assert drawn("containers") == {
        ("view/front", "view/back"),
        ("view-nginx", "view/front"),
        ("view/back", "internet"),
    }
    assert drawn("hosts") == {("view-nginx", "view/front"), ("internet", "view-nginx")}
    graph = api.get("/radar", view="containers")
    front = next(node for node in graph["nodes"] if node["name"] == "view/front")
    assert front | {"id": ""} == {
        "id": "",
        "kind": "app",
        "name": "view/front",
        "group": ["", ""],
        "instances": 1,
        "model": {"state": "learning"},
        "internet": False,
        "tags": ["1"],
        "projects": ["shop"],
        "hosts": ["view-host"],
        "found": False,
        "incident": False,
        "member": False,
    }
    detail = api.get(f"/radar/nodes/{front['id']}")
    assert [(e["name"], e["connections"]) for e in detail["outbound"]] == [("view/back", 5)]
    assert [e["name"] for e in detail["inbound"]] == ["view-nginx"]
    assert [(i["container"], i["host"]) for i in detail["instances"]] == [("c1", "view-host")]
    back = next(node for node in graph["nodes"] if node["name"] == "view/back")
    assert back["internet"]
    detail = api.get(f"/radar/nodes/{back['id']}")
    assert detail["outbound"][0]["ports"][0]["addresses"] == ["198.51.100.9"]
    history = api.get("/radar/history", source=front["id"], target=back["id"])
    assert sum(bucket["connections"] for bucket in history["buckets"]) == 5


def test_a_new_edge_is_on_the_stream_within_a_second(console: RunningConsole, join: Join) -> None:
    defender = join("stream-host")
    defender.post(defender.batch(instances=shop("stream"), snapshot=True))
    with console.raw() as http, stream(http, view="containers") as events:
        name, first_id, graph = next(events)
        assert name == "graph"
        ids = {node["name"]: node["id"] for node in graph["nodes"]}
        for port in (81, 82, 83):
            started = time.monotonic()
            defender.post(defender.batch(flows=[some_flow("c1", "c2", port)]))
            while True:
                name, last_id, change = next(events)
                assert name == "change"
                ports = [
                    p["port"]
                    for e in change["edges"]
                    if (e["source"], e["target"]) == (ids["stream/front"], ids["stream/back"])
                    for p in e["ports"]
                ]
                if port in ports:
                    break
            assert time.monotonic() - started < 1.0
        stopped = Instance(id="c1", kind="container", name="stream/front", stopped_at=now_ms())
        defender.post(defender.batch(instances=[stopped]))
        while True:
            _, last_id, change = next(events)
            found = [n for n in change["nodes"] if n["name"] == "stream/front"]
            if found:
                assert found[0]["instances"] == 0
                break
    with console.raw() as http, stream(http, first_id, view="containers") as events:
        # Everything since the first event, in order, and nothing else.
        name, replayed_id, _ = next(events)
        assert name == "change"
        assert int(replayed_id.partition("-")[2]) == int(first_id.partition("-")[2]) + 1
        while replayed_id != last_id:
            name, replayed_id, _ = next(events)
            assert name == "change"
    with console.raw() as http, stream(http, "0000-7", view="containers") as events:
        assert [next(events)[0] for _ in range(2)] == ["resync", "graph"]


def test_changes_make_the_next_graph_of_the_one_before(console: RunningConsole, join: Join) -> None:
    defender = join("merge-host")
    with console.raw() as http, stream(http, view="containers", window="30m") as events:
        _, _, graph = next(events)
        nodes = {n["id"]: n for n in graph["nodes"]}
        edges = {(e["source"], e["target"]): e for e in graph["edges"]}
        defender.post(
            defender.batch(instances=shop("merge"), flows=[some_flow("c1", "c2")], snapshot=True)
        )
        done = False
        while not done:
            _, _, change = next(events)
            nodes |= {n["id"]: n for n in change["nodes"]}
            edges |= {(e["source"], e["target"]): e for e in change["edges"]}
            for id_ in change["removed_nodes"]:
                del nodes[id_]
            for source, target in change["removed_edges"]:
                del edges[source, target]
            done = any(n["name"] == "merge/front" for n in change["nodes"])
        now = http.get("/api/v1/radar?window=30m").json()
        assert {n["id"]: n for n in now["nodes"]} == nodes
        assert {(e["source"], e["target"]): e for e in now["edges"]} == edges


def test_switching_on_is_told_to_readers(api: Client, console: RunningConsole) -> None:
    settings = api.get("/settings")
    with console.raw() as http, stream(http, view="hosts") as events:
        _, _, graph = next(events)
        assert graph["mode"]["hosts"] is settings["hosts"]
        assert graph["mode"]["limited"] is not settings["hosts"]
        api.put("/settings", {**settings, "hosts": not settings["hosts"]})
        _, _, change = next(events)
        assert change["mode"]["hosts"] is not settings["hosts"]
