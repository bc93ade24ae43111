"""The policy over the API: versions, edits, conflicts, bad input; on a real Console."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from cnnf.policy.form import parse_policy
from cnnf.policy.limits import FORM_BYTES_MAX
from cnnf.protocol.messages import PolicyState
from tests.contract.conftest import RunningConsole
from tests.contract.joined import Joined, now_ms
from tests.contract.test_api import error, shop, some_flow

Join = Callable[..., Joined]

POLICY = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: shop, type: image, values: ["shop/*"]}
  - {name: office, type: subnet, values: [10.0.0.0/8, "-10.9.0.0/16"]}
  - name: nginx
    type: service
    values: [nginx]
    labels: {tier: web, team: {exists: true, not in: [x]}}
rules:
  containers:
    - name: pay
      source: [shop]
      destination: [office]
      ports: [443, 8000-8100]
      protocol: tcp
      effect: allow
    - {name: rest, source: [shop], effect: alert, expires: 2100-01-01T00:00:00Z, owner: Ann}
  hosts:
    - {name: front, destination: [nginx], ports: [80], effect: prevent, enabled: false}
"""
YAML = {"Content-Type": "application/yaml"}


class Api:
    """The policy's routes, with the version that was seen last."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    @property
    def version(self) -> int:
        return int(self.get("").json()["version"])

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(f"/api/v1/policy{path}", params=query)

    def put(self, text: str | bytes, **query: Any) -> httpx.Response:
        query.setdefault("version", self.version)
        return self.http.put("/api/v1/policy", content=text, headers=YAML, params=query)

    def do(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        query.setdefault("version", self.version)
        return self.http.request(method, f"/api/v1/policy{path}", json=body, params=query)

    def done(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.do(method, path, body, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def text(self) -> str:
        answer = self.http.get("/api/v1/policy", headers={"Accept": "application/yaml"})
        assert answer.headers["content-type"].startswith("application/yaml")
        return answer.text


@pytest.fixture
def policy(console: RunningConsole) -> Iterator[Api]:
    """With the example in force."""
    with console.raw() as http:
        found = Api(http)
        answer = found.put(POLICY)
        assert answer.status_code == 200, answer.text
        yield found


def test_what_is_put_is_in_force_and_canonical(policy: Api) -> None:
    before = policy.version
    answer = policy.put(POLICY.replace("owner: Ann", "owner: Bob"), reason="Ann has left")
    assert answer.json()["version"] == before + 1
    assert answer.headers["etag"] == f'"{before + 1}"'
    assert answer.json()["changes"] == [
        {"kind": "changed", "name": "rest", "list": "containers", "fields": ["owner"], "after": ""}
    ]
    assert parse_policy(policy.text, subject="") == parse_policy(
        POLICY.replace("owner: Ann", "owner: Bob"), subject=""
    )
    found = policy.get("").json()
    assert (found["author"], found["reason"], found["kind"]) == (
        "token:command line", "Ann has left", "replace",
    )  # fmt: skip
    assert found["rules"]["containers"][0]["ports"] == [443, "8000-8100"]
    assert found["networkObjects"][2]["labels"] == {
        "tier": "web", "team": {"not in": ["x"], "exists": True},
    }  # fmt: skip
    # The same once more makes no version.
    assert policy.put(policy.text).json()["version"] == before + 1
    # And what is answered as JSON can be put.
    body = {"apiVersion": "cnnf/v1", "networkObjects": found["networkObjects"],
            "rules": found["rules"]}  # fmt: skip
    again = policy.http.put("/api/v1/policy", json=body, params={"version": before + 1})
    assert again.json()["version"] == before + 1, again.text


def test_a_preview_stores_nothing(policy: Api) -> None:
    before = policy.version, policy.text
    answer = policy.put("apiVersion: cnnf/v1\n", preview=True).json()
    assert answer["preview"]
    assert answer["version"] == before[0]
    assert {one["kind"] for one in answer["changes"]} == {"removed"}
    assert len(answer["changes"]) == 6
    assert (policy.version, policy.text) == before


def test_merging_keeps_what_is_not_named(policy: Api) -> None:
    given = """\
apiVersion: cnnf/v1
networkObjects: [{name: shop, type: image, values: [store/*]}]
rules:
  containers: [{name: new, source: [shop], effect: prevent}]
  hosts: [{name: front, effect: alert}]
"""
    answer = policy.put(given, mode="merge").json()
    assert {(one["kind"], one["name"]) for one in answer["changes"]} == {
        ("changed", "shop"), ("added", "new"), ("changed", "front"),
    }  # fmt: skip
    found = policy.get("").json()
    assert [one["name"] for one in found["rules"]["containers"]] == ["pay", "rest", "new"]
    assert found["kind"] == "merge"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("apiVersion: cnnf/v1\nrules:\n  hosts: [{name: a, effect: deny}]\n", "body:3:29",
         "policy:3:29: `effect` is 'deny': write allow, alert or prevent"),
        ("apiVersion: cnnf/v1\nrules: [\n", "body:3:1", "policy:3:1: "),
        ("", "body:1:1", "nothing in it"),
        ("apiVersion: cnnf/v1\nrules: {hosts: [{name: a, effect: alert, source: [b]}]}\n",
         "body:2:51", "no network object is called 'b'"),
        ("apiVersion: cnnf/v1\nnetworkObjects: [{name: a, type: subnet, values: [1.2.3.4/99]}]\n",
         "body:2:51", "is no subnet"),
        (b"\xff\xfe\x00", "body:1:1", "policy:1:1: "),
        ('apiVersion: cnnf/v1\nnetworkObjects: [{name: "a\\u202eb", type: dns, values: [a]}]\n',
         "body:2:25", "can't be printed"),
        ("apiVersion: cnnf/v1\nnetworkObjects: &a [*a]\n", "body:2:", "policy:2:"),
    ],
)  # fmt: skip
def test_bad_input_points_at_it_and_changes_nothing(
    policy: Api, text: str | bytes, where: str, message: str
) -> None:
    before = policy.version, policy.text
    for query in ({}, {"preview": True}, {"mode": "merge"}):
        answer = policy.put(text, **query)
        assert answer.status_code == 400, answer.text
        found = error(answer)
        assert found["code"] == "invalid-policy"
        assert found["where"].startswith(where)
        assert message in found["message"]
    assert (policy.version, policy.text) == before


def test_all_problems_are_told_at_once(policy: Api) -> None:
    text = "apiVersion: cnnf/v1\nrules:\n  hosts:\n" + "    - {name: a, effect: x}\n" * 3
    assert len(error(policy.put(text))["message"].splitlines()) >= 3


def test_a_body_beyond_the_bound_is_refused(policy: Api, console: RunningConsole) -> None:
    before = policy.version
    large = b"#" * (100 * 1024 * 1024)
    try:
        answer = policy.put(large)
        assert answer.status_code == 413
        assert error(answer)["code"] == "too-large"
    except httpx.WriteError:
        pass  # it was answered, and hung up on, before all of it was sent

    def chunks() -> Iterator[bytes]:
        for _ in range(FORM_BYTES_MAX // 65_536 + 2):
            yield b"#" * 65_536

    answer = policy.http.put(
        "/api/v1/policy", content=chunks(), headers=YAML, params={"version": before}
    )
    assert answer.status_code == 413
    assert error(answer)["code"] == "too-large"
    assert policy.version == before
    # Who has no account is not even read.
    with console.raw(token=False) as http:
        answer = http.put(
            "/api/v1/policy", content=b"#" * 1_000_000, headers=YAML, params={"version": before}
        )
        assert answer.status_code == 401


def test_a_change_of_another_version_is_refused(policy: Api) -> None:
    now = policy.version
    for answer in (
        policy.put("apiVersion: cnnf/v1\n", version=now - 1),
        policy.do("DELETE", "/rules/pay", version=now + 1),
        policy.do("POST", "/rollback", version=now - 1, to=1),
        policy.do("POST", "/quarantine", {"kind": "app", "name": "a"}, version=now - 1),
        policy.do("POST", "/rules/move", {"rule": "pay"}, version=now - 1),
    ):
        assert answer.status_code == 409
        found = error(answer)
        assert (found["code"], found["where"]) == ("version-conflict", "version")
        assert answer.headers["etag"] == f'"{now}"'
        assert f"version {now} is in force" in found["message"]
    assert policy.version == now
    answer = policy.http.put("/api/v1/policy", content=POLICY, headers=YAML)
    assert error(answer)["where"] == "query.version"


def test_of_many_at_once_one_is_faster(policy: Api, console: RunningConsole) -> None:
    from concurrent.futures import ThreadPoolExecutor

    version = policy.version

    def add(number: int) -> int:
        with console.raw() as http:
            rule = {"name": f"r{number}", "effect": "alert"}
            answer = Api(http).do(
                "POST", "/rules", {"rule": rule, "list": "hosts"}, version=version
            )
            return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(add, range(8))) == [200] + [409] * 7
    assert policy.version == version + 1


def test_objects_one_by_one(policy: Api) -> None:
    made = {"name": "a/b c?", "type": "host", "values": ["web-*", "-web-9"]}
    policy.done("PUT", "/objects/a%2Fb%20c%3F", made)
    found = policy.get("/objects/a%2Fb%20c%3F").json()
    assert found["object"]["values"] == ["web-*", "-web-9"]
    assert found["used_by"] == []
    policy.done("DELETE", "/objects/a%2Fb%20c%3F")
    assert policy.get("/objects/a%2Fb%20c%3F").status_code == 404
    used = {one["object"]["name"]: one["used_by"] for one in policy.get("/objects").json()}
    assert used["office"] == [{"rule": "pay", "list": "containers", "side": "destination"}]
    for body, where in (
        ({"name": "x", "type": "image"}, "body"),
        ({"name": "x", "type": "image", "values": [1]}, "body.values[0]"),
        ({"name": "x", "type": "picture", "values": ["a"]}, "body.type"),
        ({"name": "x", "type": "image", "values": ["a"], "size": 1}, "body"),
        ({"name": "x", "type": "subnet", "values": ["10.0.0.1/8"]}, "body"),
        ({"name": "x", "type": "dns", "values": []}, "body"),
        ({"name": "internet", "type": "dns", "values": ["a"]}, "body"),
        ({"name": "x", "type": "dns", "values": ["a", "a"]}, "body"),
    ):
        answer = policy.do("PUT", "/objects/" + str(body["name"]), body)
        assert answer.status_code == 400, (body, answer.text)
        assert error(answer)["where"] == where


def test_an_object_in_use_is_renamed_and_deleted_by_choice_only(policy: Api) -> None:
    renamed = {"name": "store", "type": "image", "values": ["shop/*"]}
    for method, body in (("PUT", renamed), ("DELETE", None)):
        answer = policy.do(method, "/objects/shop", body)
        assert answer.status_code == 409
        assert error(answer)["code"] == "in-use"
        assert "'pay', 'rest'" in error(answer)["message"]
    answer = policy.do("PUT", "/objects/shop", renamed | {"name": "office"}, carry=True)
    assert error(answer)["code"] == "name-taken"
    policy.done("PUT", "/objects/shop", renamed, carry=True)
    rules = policy.get("").json()["rules"]["containers"]
    assert [rule["source"] for rule in rules] == [["store"], ["store"]]
    # Without the object those sides would be anybody's: the rules go with it.
    done = policy.done("DELETE", "/objects/store", carry=True)
    assert {(one["kind"], one["name"]) for one in done["changes"]} == {
        ("removed", "store"), ("removed", "pay"), ("removed", "rest"),
    }  # fmt: skip


def test_rules_one_by_one(policy: Api) -> None:
    def order() -> list[str]:
        found = policy.get("/rules", list="containers").json()
        assert [one["position"] for one in found] == list(range(len(found)))
        return [one["rule"]["name"] for one in found]

    rule = {"name": "a", "source": ["shop"], "effect": "prevent", "ports": ["22-23", 80]}
    policy.done("POST", "/rules", {"rule": rule, "list": "containers", "before": "rest"})
    policy.done("POST", "/rules", {"rule": rule | {"name": "b"}, "list": "containers"})
    policy.done(
        "POST", "/rules", {"rule": rule | {"name": "c"}, "list": "containers", "first": True}
    )
    assert order() == ["c", "pay", "a", "rest", "b"]
    moved = policy.done("POST", "/rules/move", {"rule": "b", "after": "c"})
    assert [one["kind"] for one in moved["changes"]] == ["moved"]
    assert order() == ["c", "b", "pay", "a", "rest"]
    policy.done("POST", "/rules/enable", {"rules": ["a", "b"], "enabled": False})
    assert policy.get("/rules/a").json()["rule"]["enabled"] is False
    policy.done("PUT", "/rules/a", {"rule": {"name": "a2", "effect": "alert"}})
    assert order() == ["c", "b", "pay", "a2", "rest"]
    policy.done("PUT", "/rules/a2", {"rule": {"name": "a2", "effect": "alert"}, "list": "hosts"})
    assert policy.get("/rules/a2").json()["list"] == "hosts"
    policy.done("DELETE", "/rules/c")
    assert order() == ["b", "pay", "rest"]
    for method, path, body, code in (
        ("POST", "/rules", {"rule": rule | {"name": "pay"}, "list": "hosts"}, "name-taken"),
        ("POST", "/rules", {"rule": rule | {"name": "n"}, "list": "hosts"}, "invalid-policy"),
        ("POST", "/rules", {"rule": rule | {"ports": [70000]}, "list": "hosts"}, "invalid-policy"),
        ("POST", "/rules", {"rule": rule | {"source": ["?"]}, "list": "hosts"}, "invalid-policy"),
        ("POST", "/rules/move", {"rule": "gone"}, "not-found"),
        ("POST", "/rules/move", {"rule": "pay", "after": "front"}, "bad-request"),
        ("POST", "/rules/move", {"rule": "pay", "after": "pay"}, "bad-request"),
        ("POST", "/rules/enable", {"rules": [], "enabled": True}, "bad-request"),
        ("DELETE", "/rules/gone", None, "not-found"),
        ("PUT", "/rules/pay", {"rule": rule | {"name": "rest"}}, "name-taken"),
    ):
        version = policy.version
        answer = policy.do(method, path, body)
        assert error(answer)["code"] == code, answer.text
        assert policy.version == version


def test_findings_come_with_the_answer(policy: Api) -> None:
    rule = {"name": "late", "source": ["shop"], "destination": ["office"], "ports": [443],
            "protocol": "tcp", "effect": "prevent"}  # fmt: skip
    done = policy.done("POST", "/rules", {"rule": rule, "list": "containers"})
    found = [one for one in done["findings"] if one["name"] == "late"]
    assert [(one["kind"], one["because"]) for one in found] == [("shadowed", "pay")]
    assert found[0] in policy.get("/findings").json()


def test_history_and_rollback(policy: Api) -> None:
    first = policy.version
    before = policy.text
    policy.done("DELETE", "/rules/pay", reason="no more")
    policy.done("DELETE", "/rules/rest")
    versions = policy.get("/versions", count=3).json()
    assert [one["version"] for one in versions] == [first + 2, first + 1, first]
    assert [(one["kind"], one["subject"], one["reason"]) for one in versions[:2]] == [
        ("rule", "rest", ""), ("rule", "pay", "no more"),
    ]  # fmt: skip
    assert policy.get("/versions", before=2).json()[0]["version"] == 1
    diff = policy.get("/diff", old=first, new=first + 2).json()
    assert {one["name"] for one in diff["changes"]} == {"pay", "rest"}
    old = policy.http.get(
        f"/api/v1/policy/versions/{first}", headers={"Accept": "application/yaml"}
    )
    assert old.text == before
    assert policy.get("/versions/1").json()["networkObjects"] == []
    done = policy.done("POST", "/rollback", to=first, reason="too much")
    assert done["version"] == first + 3
    assert policy.text == before
    assert policy.get("").json()["subject"] == f"version {first}"
    for path in ("/versions/99999", "/diff?old=1&new=99999"):
        assert policy.http.get(f"/api/v1/policy{path}").status_code == 404
    assert policy.do("POST", "/rollback", to=99_999).status_code == 404


def test_every_change_is_audited(policy: Api) -> None:
    policy.done("DELETE", "/rules/pay", reason="gone")
    entry = policy.http.get("/api/v1/audit").json()[0]
    assert (entry["actor"], entry["action"], entry["subject"]) == (
        "token:command line",
        "policy.rule",
        "pay",
    )
    assert entry["detail"]["version"] == policy.version
    assert entry["detail"]["reason"] == "gone"


def test_viewers_read_and_operators_write(console: RunningConsole, policy: Api) -> None:
    path = console.data_dir / "cnnf.db"
    token = (console.data_dir / "cli-token").read_text().strip()
    import hashlib

    def role(name: str) -> None:
        with sqlite3.connect(path, timeout=10) as database:
            done = database.execute(
                "UPDATE api_tokens SET role = ? WHERE id = ?",
                (name, hashlib.sha256(token.encode()).digest()),
            )
            assert done.rowcount == 1
        database.close()

    version = policy.version
    try:
        role("viewer")
        for get in ("", "/versions", "/objects", "/rules", "/findings", "/hits", "/quarantine"):
            assert policy.get(get).status_code == 200, get
        assert policy.put(POLICY).status_code == 403
        for method, place, body in (
            ("POST", "/rollback?to=1", None),
            ("PUT", "/objects/x", {"name": "x", "type": "dns", "values": ["a"]}),
            ("DELETE", "/rules/pay", None),
            ("POST", "/quarantine", {"kind": "app", "name": "a"}),
            ("DELETE", "/quarantine/quarantine:a", None),
        ):
            answer = policy.http.request(
                method, f"/api/v1/policy{place}", json=body, params={"version": version, "to": 1}
            )
            assert answer.status_code == 403, (method, place)
        role("operator")
        assert policy.do("DELETE", "/rules/pay").status_code == 200
    finally:
        role("admin")


def test_quarantine_and_back(policy: Api, join: Join) -> None:
    web = join("q-1")
    prefix = f"quarantined-{web.id[:6]}"
    web.post(web.batch(instances=shop(prefix), snapshot=True))
    before = policy.text
    name = f"quarantine:{prefix}/front"
    policy.done("POST", "/quarantine", {"kind": "app", "name": f"{prefix}/front"}, reason="odd")
    found = policy.get("").json()
    assert [one["name"] for one in found["rules"]["containers"]][:2] == [
        f"{name} out", f"{name} in",
    ]  # fmt: skip
    assert "Quarantined by token:command line at 20" in found["rules"]["containers"][0]["note"]
    assert found["rules"]["containers"][0]["note"].endswith(": odd")
    again = policy.do("POST", "/quarantine", {"kind": "app", "name": f"{prefix}/front"})
    assert error(again)["code"] == "name-taken"
    policy.done("POST", "/quarantine", {"kind": "service", "name": "nginx", "host": "q-1"})
    policy.done("POST", "/quarantine", {"kind": "instance", "instance": "c2", "host": "q-1"})
    (one,) = [q for q in policy.get("/quarantine").json() if q["name"].endswith("c2")]
    assert one["object"]["values"] == [f"{prefix}/back"]
    assert one["object"]["hosts"] == ["q-1"]
    held = policy.get("/quarantine").json()
    assert [q["in_force"] for q in held] == [True] * 3
    policy.done("POST", "/rules/move", {"rule": "pay", "first": True})
    assert [q["in_force"] for q in policy.get("/quarantine").json()] == [False, False, False]
    policy.done("POST", "/rules/move", {"rule": "pay", "before": "rest"})
    for one in held:
        policy.done("DELETE", "/quarantine/" + one["name"].replace("/", "%2F"))
    assert policy.text == before
    for body in (
        {"kind": "app"},
        {"kind": "app", "name": "*"},
        {"kind": "instance", "instance": "nobody"},
        {"kind": "instance"},
        {"kind": "pod", "name": "x"},
    ):
        assert policy.do("POST", "/quarantine", body).status_code in (400, 404), body
    assert policy.do("DELETE", "/quarantine/shop").status_code == 404


def test_hits_are_counted_once(policy: Api, join: Join) -> None:
    import msgspec

    web = join("h-1")
    web.post(web.batch(instances=shop("hit"), snapshot=True))
    flow = msgspec.structs.replace(
        some_flow("c1", "c2", connections=3), effect="prevent", cause="rule:pay"
    )
    batch = web.batch(flows=[flow])
    web.post(batch)
    web.post(batch)

    def hits(name: str) -> dict[str, Any]:
        (found,) = [one for one in policy.get("/hits").json() if one["rule"] == name]
        return dict(found)

    assert hits("pay")["hits"] == 3
    assert hits("pay")["last_hit"] is not None
    assert hits("pay")["never_hit"] is False
    assert hits("rest") | {"since": None} == {
        "rule": "rest", "list": "containers", "hits": 0, "last_hit": None, "since": None,
        "never_hit": False,
    }  # fmt: skip
    assert hits("front")["since"] is None
    # What a rule decided goes with it when it is renamed.
    rule = policy.get("/rules/pay").json()["rule"]
    policy.done("PUT", "/rules/pay", {"rule": rule | {"name": "paid"}})
    assert hits("paid")["hits"] == 3


def test_a_rule_that_is_never_hit_is_found(policy: Api, console: RunningConsole) -> None:
    path = console.data_dir / "cnnf.db"
    with sqlite3.connect(path, timeout=10) as database:
        week_ago = now_ms() - 8 * 24 * 3600 * 1000
        database.execute("UPDATE rules_in_force SET since = ? WHERE rule = 'rest'", (week_ago,))
    database.close()
    found = [one for one in policy.get("/findings").json() if one["kind"] == "never-hit"]
    assert [one["name"] for one in found] == ["rest"]


LOCKS_OUT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: everywhere, type: host, values: ["*"]}
rules:
  hosts:
    - {name: shut, DESTINATION effect: prevent}
"""


def test_a_policy_that_locks_out_is_refused(policy: Api) -> None:
    before = policy.version
    for more in ("ports: [22],", "destination: [everywhere], ports: [22], protocol: tcp,"):
        answer = policy.put(LOCKS_OUT.replace("DESTINATION", more))
        assert error(answer)["code"] == "locks-out", more
        assert answer.status_code == 400
    assert policy.version == before
    # What does more is taken, and it is told what it does not do.
    answer = policy.put(LOCKS_OUT.replace("DESTINATION", "destination: [everywhere],"))
    assert "failsafe" in answer.json()["notes"][0], answer.text
    for more in ("destination: [everywhere], ports: [22], protocol: udp,",
                 "source: [everywhere], destination: [everywhere], ports: [22],",
                 "source: [everywhere], destination: [internet], ports: [22],"):  # fmt: skip
        assert policy.put(LOCKS_OUT.replace("DESTINATION", more)).status_code == 200, more


def test_a_policy_that_cuts_defenders_off_is_refused(policy: Api, join: Join) -> None:
    import socket

    here, away = join(socket.gethostname()), join("away-1")
    for one in (here, away):
        one.post(one.batch(snapshot=True))
    try:
        answer = policy.put(LOCKS_OUT.replace("DESTINATION", "destination: [everywhere],"))
        assert error(answer)["code"] == "locks-out", answer.text
        assert "away-1" in error(answer)["message"]
        assert answer.status_code == 400
        port = httpx.URL(here.url).port
        allowed = LOCKS_OUT.replace("DESTINATION", "destination: [everywhere],").replace(
            "  hosts:\n", f"  hosts:\n    - {{name: console, ports: [{port}], effect: allow}}\n"
        )
        assert policy.put(allowed).status_code == 200
        policy.put(POLICY)
    finally:
        for one in (here, away):
            policy.http.delete(f"/api/v1/defenders/{one.id}")


def test_defenders_are_told_and_tell(policy: Api, join: Join) -> None:
    web = join("d-1")
    with web.stream() as events:
        seen: dict[str, Any] = {}
        while "policy" not in seen:
            name, data = next(events)
            seen[name] = json.loads(data)
        assert seen["settings"]
        assert seen["policy"]["generation"] == policy.version
        started = time.monotonic()
        policy.done("DELETE", "/rules/rest")
        name, data = next(event for event in events if event[0] == "policy")
        assert time.monotonic() - started < 1.0
        news = json.loads(data)
        assert news["generation"] == policy.version
    for encoding in ("zstd", "gzip", "identity"):
        answer = web.http.get("/defender/v1/policy", headers={"Accept-Encoding": encoding})
        assert answer.headers.get("content-encoding", "identity") == encoding
        assert answer.json() == news | {"text": policy.text}
    state = PolicyState(generation=1, digest="d", refused_generation=7, refused="no room")
    import msgspec

    web.post(msgspec.structs.replace(web.batch(), policy=state))
    web.post(web.batch())
    found = policy.http.get(f"/api/v1/defenders/{web.id}").json()
    assert found["policy"] == msgspec.to_builtins(state)


def test_the_document_needs_a_certificate(console: RunningConsole) -> None:
    with console.raw() as http:
        assert http.get("/defender/v1/policy").status_code == 404


def test_it_is_all_there_after_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("policy") / "data"
    first = RunningConsole(directory)
    with first.raw() as http:
        api = Api(http)
        assert api.version == 1
        assert api.get("").json()["author"] == "cnnf"
        api.put(POLICY)
        for number in range(20):
            api.done("PUT", f"/objects/o{number}",
                     {"name": f"o{number}", "type": "dns", "values": ["a"]})  # fmt: skip
        text, versions = api.text, api.get("/versions").json()
    first.stop()
    second = RunningConsole(directory)
    try:
        with second.raw() as http:
            api = Api(http)
            assert (api.text, api.get("/versions").json()) == (text, versions)
            assert api.version == 22
            middle = api.get("/versions/12").json()
            assert [one["name"] for one in middle["networkObjects"]][3:] == [
                f"o{number}" for number in range(10)
            ]
    finally:
        second.stop()
