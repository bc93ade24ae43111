"""The connections of network objects, over the API and on Radar, with those from before it was."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cnnf.cli.client import Client
from cnnf.protocol.messages import Endpoint, Flow
from tests.contract.conftest import ENVIRONMENT, RunningConsole
from tests.contract.joined import Joined, now_ms
from tests.contract.test_api import error, shop, some_flow, stream
from tests.contract.test_policy_api import Api

BEFORE = "apiVersion: cnnf/v1\n"
POLICY = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: partners, type: subnet, values: [203.0.113.0/24]}
  - {name: pay/eu, type: dns, values: ["*.pay.example"]}
  - {name: lab, type: subnet, values: [10.77.0.0/16]}
  - {name: front, type: image, values: ["seen/front:1"]}
  - {name: nobody, type: service, values: [nobody]}
rules:
  containers:
    - {name: to lab, source: [front], destination: [lab], ports: [22], effect: alert}
"""


@pytest.fixture(scope="module")
def policy(console: RunningConsole) -> Iterator[Api]:
    """In force after what is seen was seen."""
    with console.raw() as http, console.api() as api:
        found = Api(http)
        assert found.put(BEFORE).status_code == 200
        joined = Joined(api, "seen-1")
        joined.post(joined.batch(instances=shop("seen"), flows=flows()))
        answer = found.put(POLICY)
        assert answer.status_code == 200, answer.text
        yield found
        joined.close()


def flows() -> list[Flow]:
    now = now_ms()

    def outside(address: str, name: str, connections: int) -> Flow:
        return Flow(
            source=Endpoint(instance="c1"),
            destination=Endpoint(address=address, names=(name,)),
            port=443,
            connections=connections,
            first_seen=now,
            last_seen=now,
        )

    return [
        outside("203.0.113.7", "api.pay.example", 3),
        outside("198.51.100.9", "cdn.example", 4),
        some_flow("c1", "10.77.1.1", 22, 5),
        some_flow("10.77.2.2", "c2", 8080, 2),
        some_flow("c1", "c2", 8081, 6),
    ]


def rows(policy: Api, name: str, **query: Any) -> list[tuple[Any, ...]]:
    answer = policy.get(f"/objects/{name.replace('/', '%2F')}/connections", window="1h", **query)
    assert answer.status_code == 200, answer.text
    return sorted(
        (one["source"]["name"], one["destination"]["name"], one["port"], one["connections"],
         one["certain"], one["effect"], one["cause"])
        for one in answer.json()["listed"]
    )  # fmt: skip


def test_an_object_has_the_connections_from_before_it_was_made(policy: Api) -> None:
    outside = ("seen/front", "internet", 443, 7, False, "allow", "default")
    lab = ("seen/front", "10.77.1.1", 22, 5, True, "alert", "rule:to lab")
    assert rows(policy, "partners") == rows(policy, "pay/eu") == [outside]
    assert rows(policy, "lab") == [
        ("10.77.2.2", "seen/back", 8080, 2, True, "allow", "default"), lab,
    ]  # fmt: skip
    assert rows(policy, "front") == [
        lab,
        ("seen/front", "internet", 443, 7, True, "allow", "default"),
        ("seen/front", "seen/back", 8081, 6, True, "allow", "default"),
    ]
    assert rows(policy, "nobody") == []
    assert len(rows(policy, "front", count=2)) == 2
    assert len(rows(policy, "front", count=2, skip=2)) == 1


def test_what_cannot_be_asked_is_refused(policy: Api) -> None:
    unknown = policy.get("/objects/none/connections")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not-found")
    for query in ({"window": "1y"}, {"count": 0}, {"count": 201}, {"skip": -1}):
        assert policy.get("/objects/lab/connections", **query).status_code == 400
    missing = policy.http.get("/api/v1/radar", params={"object": "none"})
    assert (missing.status_code, error(missing)["where"]) == (404, "query.object")


def graph(policy: Api, **query: str) -> tuple[dict[str, Any], set[tuple[Any, ...]]]:
    answer = policy.http.get("/api/v1/radar", params={"view": "containers", **query})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    names = {node["id"]: node["name"] for node in found["nodes"]}
    edges = {
        (names[edge["source"]], names[edge["target"]], port["connections"], port["shared"])
        for edge in found["edges"]
        for port in edge["ports"]
    }
    return {node["name"]: node for node in found["nodes"]}, edges


def test_radar_draws_objects_in_the_place_of_addresses_and_names(policy: Api) -> None:
    nodes, edges = graph(policy)
    assert nodes["lab"]["kind"] == nodes["pay/eu"]["kind"] == "object"
    assert {
        ("seen/front", "pay/eu", 7, True),
        ("seen/front", "internet", 7, True),
        ("seen/front", "lab", 5, False),
        ("lab", "seen/back", 2, False),
    } <= edges
    assert "10.77.1.1" not in nodes
    assert nodes["seen/front"]["internet"]
    # Its panel has the edges on either side.
    panel = policy.http.get(f"/api/v1/radar/nodes/{nodes['lab']['id']}").json()
    assert [one["name"] for one in panel["inbound"]] == ["seen/front"]
    assert [one["name"] for one in panel["outbound"]] == ["seen/back"]


def test_radar_shows_the_connections_of_one_object(policy: Api) -> None:
    nodes, edges = graph(policy, object="partners")
    assert edges == {("seen/front", "partners", 7, True)}
    assert [name for name, one in nodes.items() if one["member"]] == ["partners"]
    nodes, edges = graph(policy, object="front")
    assert {edge[:2] for edge in edges} >= {("seen/front", "seen/back"), ("seen/front", "lab")}
    assert [name for name, one in nodes.items() if one["member"]] == ["seen/front"]
    assert graph(policy, object="nobody") == ({}, set())
    query = {"view": "containers", "window": "1h", "object": "lab"}
    with stream(policy.http, **query) as events:
        name, _, first = next(events)
        assert name == "graph"
        assert {node["name"] for node in first["nodes"]} == {"lab", "seen/front", "seen/back"}


def test_the_commands_show_it(console: RunningConsole, policy: Api) -> None:
    del policy

    def asked(*arguments: str) -> str:
        program = [sys.executable, "-c", "from cnnf.cli.main import main; main()"]
        done = subprocess.run(
            [*program, *arguments, "--data-dir", str(console.data_dir)],
            capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "2 flows of lab in the last 24h." in asked("policy", "seen", "lab")
    found = json.loads(asked("policy", "seen", "pay/eu", "--json"))
    (one,) = found["listed"]
    assert one["destination"]["who"] == ["api.pay.example (203.0.113.7)"]
    assert "partners" in asked("radar", "--object", "partners")


def test_a_token_of_nobody_sees_nothing(console: RunningConsole, api: Client) -> None:
    del api
    with console.raw(token=False) as http:
        assert http.get("/api/v1/policy/objects/lab/connections").status_code == 401
