"""The Defender's way in: enrolment, mutual TLS, batches and settings, on a real Console."""

import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cnnf.cli.client import Client
from cnnf.cli.failure import Failure
from cnnf.protocol.codec import encode_batch
from cnnf.protocol.messages import Endpoint, Flow, Gap, Instance, Settings
from tests.contract import estate
from tests.contract.conftest import RunningConsole
from tests.contract.joined import Joined, client_context, new_request, now_ms

Join = Callable[..., Joined]


def some_flow(connections: int = 3, port: int = 80) -> Flow:
    """A flow between two containers, just now."""
    return Flow(
        source=Endpoint(instance="c1"),
        destination=Endpoint(instance="c2"),
        port=port,
        connections=connections,
        first_seen=now_ms(),
        last_seen=now_ms(),
    )


def pair(prefix: str) -> list[Instance]:
    """Two containers with names of their own."""
    return [
        Instance(id="c1", kind="container", name=f"{prefix}/front", tag="1"),
        Instance(id="c2", kind="container", name=f"{prefix}/back", tag="1"),
    ]


def edges(api: Client, prefix: str) -> dict[tuple[str, str, int], int]:
    """Connections on the containers' graph, between names that begin so."""
    graph = api.get("/radar")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    return {
        (names[e["source"]], names[e["target"]], p["port"]): p["connections"]
        for e in graph["edges"]
        for p in e["ports"]
        if names[e["source"]].startswith(prefix)
    }


def test_batches_become_edges_and_are_counted_once(api: Client, join: Join) -> None:
    defender = join()
    first = defender.batch(instances=pair("once"), snapshot=True, flows=[some_flow()])
    assert defender.post(first).sequence == 1
    assert defender.post(first).sequence == 1
    assert defender.post(defender.batch(flows=[some_flow(4)])).sequence == 2
    assert edges(api, "once") == {("once/front", "once/back", 80): 7}


def test_a_hole_is_a_conflict_until_a_gap_accounts_for_it(api: Client, join: Join) -> None:
    defender = join()
    defender.post(defender.batch(instances=pair("gap")))
    defender.sequence = 4
    answer = defender.send(defender.batch(flows=[some_flow()]))
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "batch-missing"
    defender.sequence = 4
    taken = defender.post(defender.batch(flows=[some_flow()], gap=Gap(first=2, last=4, flows=9)))
    assert taken.sequence == 5
    assert edges(api, "gap") == {("gap/front", "gap/back", 80): 3}


def test_what_is_no_batch_is_refused_by_its_reason(join: Join) -> None:
    defender = join()
    good = encode_batch(defender.batch())
    cases: list[tuple[bytes, int]] = [
        (b"", 400),
        (b"not zstd at all", 400),
        (good[:-3], 400),
        (b"\0" * (4 * 1024 * 1024 + 1), 413),
    ]
    for body, status in cases:
        answer = defender.send(body)
        assert answer.status_code == status, (body[:20], answer.text)
        assert answer.json()["error"]["message"]
    answer = defender.http.post("/defender/v1/batches", json={})
    assert answer.status_code == 415
    assert defender.http.get("/api/v1/radar").status_code == 404
    assert defender.http.get("/defender/v1/batches").status_code == 405


def test_an_old_version_is_told_to_upgrade(join: Join) -> None:
    import msgspec
    import zstandard

    defender = join()
    values: dict[str, Any] = msgspec.to_builtins(defender.batch())
    values["version"] = 99
    data = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(values))
    answer = defender.send(data)
    assert answer.status_code == 426
    assert answer.json()["error"]["code"] == "unsupported-version"


def test_settings_come_at_once_and_at_every_change(api: Client, join: Join) -> None:
    with join().listen() as settings:
        first = next(settings)
        before = api.get("/settings")
        assert first.generation == before["version"]
        after = api.put("/settings", {**before, "containers": not before["containers"]})
        started = time.monotonic()
        assert next(settings) == Settings(
            generation=after["version"], containers=after["containers"], hosts=after["hosts"]
        )
        assert time.monotonic() - started < 1


def test_a_defender_is_live_while_it_listens(api: Client, join: Join) -> None:
    defender = join("listening-host")

    def live() -> bool:
        found = [d for d in api.get("/defenders") if d["id"] == defender.id]
        return bool(found[0]["live"])

    assert not live()
    with defender.listen() as settings:
        next(settings)
        assert live()


def test_what_a_defender_says_of_itself_is_shown(api: Client, join: Join) -> None:
    defender = join("telling-host")
    applied = Settings(generation=1, containers=True, udp=True, refuse_with="drop", cut=False)
    defender.post(defender.batch(applied=applied))
    found = next(d for d in api.get("/defenders") if d["id"] == defender.id)
    assert found["name"] == "telling-host"
    assert found["applied"] == {
        "generation": 1, "containers": True, "hosts": False,
        "udp": True, "refuse_with": "drop", "cut": False,
    }  # fmt: skip
    assert found["live"]


def connect(url: str, context: ssl.SSLContext) -> httpx.Response:
    """Ask for the stream with this identity."""
    with httpx.Client(verify=context, trust_env=False, timeout=5) as http:
        return http.get(f"{url}/defender/v1/stream", headers={"Connection": "close"})


def self_made(name: str, issuer_key: ec.EllipticCurvePrivateKey, issuer: str) -> tuple[Any, str]:
    """A client certificate of somebody else's authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    return key, certificate.public_bytes(Encoding.PEM).decode()


def test_nobody_comes_in_with_another_authoritys_certificate(join: Join) -> None:
    defender = join()
    forger = ec.generate_private_key(ec.SECP256R1())
    key, forged = self_made(defender.id, forger, "cnnf Console authority")
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
        connect(defender.url, client_context(defender.authority, forged, key))


def test_nobody_comes_in_without_a_certificate(join: Join) -> None:
    defender = join()
    bare = ssl.create_default_context(cadata=defender.authority)
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
        connect(defender.url, bare)


def test_another_consoles_defender_is_a_stranger(
    join: Join, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = join()
    elsewhere = RunningConsole(tmp_path_factory.mktemp("other") / "data")
    try:
        with elsewhere.api() as api:
            foreign = Joined(api)
        context = client_context(here.authority, foreign.certificate, foreign.key)
        with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
            connect(here.url, context)
        foreign.close()
    finally:
        elsewhere.stop()


def test_a_join_token_is_used_once(api: Client) -> None:
    token = api.post("/defenders/tokens")
    _, request = new_request()
    body = {"token": token["token"], "request": request, "host": "a"}
    reply = api.post("/defenders/enrol", body)
    with pytest.raises(Failure, match="unknown, used or expired"):
        api.post("/defenders/enrol", body)
    authority = x509.load_pem_x509_certificate(reply["authority"].encode())
    assert token["token"].endswith(authority.fingerprint(hashes.SHA256()).hex())


def test_a_bad_signing_request_does_not_use_the_token_up(api: Client) -> None:
    token = api.post("/defenders/tokens")["token"]
    for request in ("nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"):
        with pytest.raises(Failure, match="signing request"):
            api.post("/defenders/enrol", {"token": token, "request": request, "host": "a"})
    _, request = new_request("somebody-else")
    reply = api.post("/defenders/enrol", {"token": token, "request": request, "host": "a"})
    issued = x509.load_pem_x509_certificate(reply["certificate"].encode())
    # The name is the Console's to give, whatever was asked for.
    assert issued.subject.rfc4514_string() == f"CN={reply['defender']}"


def test_a_crash_loses_nothing_acknowledged(tmp_path_factory: pytest.TempPathFactory) -> None:
    import signal

    data = tmp_path_factory.mktemp("crash") / "data"
    first = RunningConsole(data)
    with first.api() as api:
        defender = Joined(api)
        defender.post(defender.batch(instances=pair("crash"), snapshot=True))
        for _ in range(20):
            defender.post(defender.batch(flows=[some_flow(1)]))
    first.stop(signal.SIGKILL)
    defender.close()
    (data / "console.json").unlink()
    second = RunningConsole(data)
    try:
        with second.api() as api:
            assert edges(api, "crash") == {("crash/front", "crash/back", 80): 20}
            assert [d["id"] for d in api.get("/defenders")] == [defender.id]
    finally:
        second.stop()


def test_the_estate_is_drawn_as_it_is_defined(tmp_path_factory: pytest.TempPathFactory) -> None:
    running = RunningConsole(tmp_path_factory.mktemp("estate") / "data")
    try:
        with running.api() as api:
            one = Joined(api, "web-1")
            known = estate.containers(0) + estate.services(0)
            one.post(one.batch(instances=known, snapshot=True, flows=estate.estate_flows(known, 0)))
            graph = api.get("/radar", view="containers")
            names = {node["id"]: node["name"] for node in graph["nodes"]}
            drawn = {
                (names[e["source"]], names[e["target"]], p["port"])
                for e in graph["edges"]
                for p in e["ports"]
            }
            assert drawn == set(estate.EDGES)
            counted = {n["name"]: n["instances"] for n in graph["nodes"] if n["kind"] == "app"}
            assert counted == {name: replicas for name, _, replicas, _ in estate.APPS}
            one.close()
    finally:
        running.stop()


def test_random_bytes_never_harm(join: Join) -> None:
    defender = join()
    for size in (1, 10, 1000, 100_000):
        answer = defender.send(os.urandom(size))
        assert answer.status_code == 400
    assert defender.post(defender.batch()).sequence == 1
