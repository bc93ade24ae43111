"""Certificates over time: renewed by their Defenders, revoked by removal, never another's."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from cnnf.cli.client import Client
from cnnf.console import limits
from cnnf.console.authority import Authority, identify
from cnnf.console.errors import Refused
from cnnf.defender.core.conditions import Code
from cnnf.defender.core.limits import RENEW_RETRY_SECONDS
from cnnf.defender.link.credentials import Credentials, Identity, new_key, tls
from cnnf.defender.link.errors import CredentialsBroken, RenewalFailed
from cnnf.defender.link.joining import join
from cnnf.defender.link.renewal import Renewal
from cnnf.protocol.codec import CONTENT_TYPE, encode_batch
from cnnf.protocol.messages import SpoolState
from tests.contract.conftest import RunningConsole
from tests.contract.joined import Joined

Join = Callable[..., Joined]


class Host:
    """A host that has joined, as its Defender keeps it."""

    def __init__(self, api: Client, directory: Path, name: str = "renewing") -> None:
        self.credentials = Credentials(directory)
        self.credentials.prepare()
        self.credentials.keep(join(api.url, api.post("/defenders/tokens")["token"], name))
        self.conditions: dict[Code, str] = {}
        self.renewed = 0
        self.start()

    def start(self) -> None:
        """A new process: all it knows is on disk."""
        identity = self.credentials.identity()
        self.context = tls(identity)
        self.renewal = Renewal(
            self.credentials,
            identity,
            self.context,
            on_renewed=self._count,
            raise_=self.conditions.__setitem__,
            clear=self._clear,
        )

    def _count(self) -> None:
        self.renewed += 1

    def _clear(self, code: Code) -> None:
        self.conditions.pop(code, None)

    def send(self, identity: Identity | None = None) -> int:
        """The status of a batch sent as the host it is, or was."""
        return send(identity or self.credentials.identity())


def send(identity: Identity) -> int:
    """The status of a request over a new connection."""
    with httpx.Client(verify=tls(identity), trust_env=False, timeout=10) as http:
        answer = http.post(
            f"{identity.url}/defender/v1/batches",
            content=b"no batch",
            headers={"content-type": CONTENT_TYPE},
        )
    return answer.status_code


#: Whoever is let in is told that this is no batch; whoever is not, that.
LET_IN, REFUSED = 400, 403


@pytest.fixture
def host(api: Client, tmp_path: Path) -> Host:
    """One that has joined."""
    return Host(api, tmp_path)


def defender(api: Client, id_: str) -> Any:
    """The Defender as the Console tells of it."""
    return api.get(f"/defenders/{id_}")


def test_both_are_good_until_the_next_is_used(api: Client, host: Host) -> None:
    before = host.credentials.identity()
    asyncio.run(host.renewal.renew())
    after = host.credentials.identity()
    assert host.renewed == 1
    assert (after.defender, after.url) == (before.defender, before.url)
    assert after.key != before.key
    told = defender(api, before.defender)
    assert host.send(before) == LET_IN
    assert defender(api, before.defender) == told
    assert host.send(after) == LET_IN
    assert defender(api, before.defender)["fingerprint"] != told["fingerprint"]
    assert defender(api, before.defender)["expires_at"] >= told["expires_at"]
    assert host.send(before) == REFUSED
    assert host.send(after) == LET_IN


def test_new_connections_show_the_next_at_once(host: Host) -> None:
    asyncio.run(host.renewal.renew())
    asyncio.run(host.renewal.renew())
    assert host.send() == LET_IN
    assert host.credentials.identity() == host.renewal.identity


def test_one_that_is_killed_before_it_kept_the_next_renews_again(host: Host) -> None:
    before = host.credentials.identity()
    _, request = new_key()
    # The Console gave it, and the answer was lost.
    asyncio.run(host.renewal._ask(request))
    host.start()
    assert host.send(before) == LET_IN
    asyncio.run(host.renewal.renew())
    assert host.send() == LET_IN
    assert host.send(before) == REFUSED


def test_one_that_is_killed_before_it_used_the_next_starts_with_it(host: Host) -> None:
    before = host.credentials.identity()
    asyncio.run(host.renewal.renew())
    host.start()
    assert host.send() == LET_IN
    assert host.send(before) == REFUSED


def test_a_disk_that_takes_nothing_changes_nothing(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.credentials.identity()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cnnf.defender.link.credentials.os.fsync", full)
        with pytest.raises(CredentialsBroken, match="No space left"):
            asyncio.run(host.renewal.renew())
    assert host.credentials.identity() == before
    assert host.send() == LET_IN


def test_nothing_is_kept_over_a_host_that_has_joined_anew(host: Host, api: Client) -> None:
    anew = join(api.url, api.post("/defenders/tokens")["token"], "anew")
    host.credentials.keep(anew)
    with pytest.raises(CredentialsBroken, match="joined anew"):
        asyncio.run(host.renewal.renew())
    assert host.credentials.identity() == anew


def test_it_is_time_when_a_third_is_left(host: Host) -> None:
    begin, end = host.renewal.identity.valid()
    third = (end - begin) / 3
    early = asyncio.run(host.renewal.look(end - third - timedelta(days=1)))
    assert (early, host.renewed) == (RENEW_RETRY_SECONDS, 0)
    soon = asyncio.run(host.renewal.look(end - third - timedelta(seconds=60)))
    assert (60 <= soon <= 62, host.renewed) == (True, 0)
    asyncio.run(host.renewal.look(end - third + timedelta(seconds=60)))
    assert host.renewed == 1
    assert host.renewal.identity.valid()[1] >= end
    assert host.conditions == {}


def test_what_can_not_be_renewed_is_told_in_time_and_at_the_end(api: Client, host: Host) -> None:
    _, end = host.renewal.identity.valid()
    api.request("DELETE", f"/defenders/{host.renewal.identity.defender}")
    asyncio.run(host.renewal.look(end - timedelta(days=100)))
    assert host.conditions == {}
    asyncio.run(host.renewal.look(end - timedelta(days=10)))
    assert "not enrolled here" in host.conditions["certificate-ending"]
    wait = asyncio.run(host.renewal.look(end + timedelta(days=1)))
    assert wait == RENEW_RETRY_SECONDS
    assert "expired" in host.conditions["certificate-ending"]
    assert "cnnf defender join --again" in host.conditions["certificate-ending"]
    assert host.renewed == 0


def test_nobody_renews_for_another(join: Join) -> None:
    one, other = join("one"), join("other")
    _, request = new_key()
    for body in ({"request": request, "defender": other.id}, {"request": request}):
        answer = one.http.post("/defender/v1/renewal", json=body, headers={"X-Defender": other.id})
        assert answer.status_code == 200
        certificate = answer.json()["certificate"].encode()
        issued = x509.load_pem_x509_certificate(certificate)
        assert issued.subject.rfc4514_string() == f"CN={one.id}"
    other.post(other.batch())


def test_what_is_no_request_renews_nothing(join: Join) -> None:
    one = join()
    for body in ({}, {"request": "x"}, {"request": 1}, {"request": "x" * 20_000}):
        answer = one.http.post("/defender/v1/renewal", json=body)
        assert answer.status_code in (400, 413), body
        assert answer.json()["error"]["message"]
    one.post(one.batch())


# --- a Defender speaks for itself only


def test_what_a_batch_says_of_its_sender_is_not_heard(api: Client, join: Join) -> None:
    one, victim = join("one"), join("victim")
    victim.post(victim.batch())
    before = defender(api, victim.id)
    batch = msgspec.to_builtins(one.batch())
    batch |= {"defender": victim.id, "id": victim.id}
    import zstandard

    data = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(batch))
    answer = one.http.post(
        f"/defender/v1/batches?defender={victim.id}",
        content=data,
        headers={"content-type": CONTENT_TYPE, "x-client-cert": victim.certificate.strip()[:20]},
    )
    assert answer.status_code == 200
    assert defender(api, victim.id) == before
    assert defender(api, one.id)["seen_at"] is not None


def test_anothers_incarnation_is_its_own_matter(api: Client, join: Join) -> None:
    """Marks are kept for each Defender: nobody can make another's batches duplicates."""
    one, victim = join("one"), join("victim")
    one.incarnation = victim.incarnation
    for _ in range(5):
        one.post(one.batch())
    assert victim.post(victim.batch()).sequence == 1


def made(console: RunningConsole, name: str, *, days: int) -> Identity:
    """A certificate of this Console's authority that it never gave to anybody."""
    authority = Authority(console.data_dir / "tls")
    key, request = new_key()
    parsed = x509.load_pem_x509_csr(request.encode())
    now = datetime.now(UTC)
    template = x509.load_pem_x509_certificate(authority.sign(request, name).pem.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(parsed.public_key())
        .serial_number(template.serial_number)
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
    )
    for extension in template.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    signed = builder.sign(authority.key, hashes.SHA256())
    return Identity(
        defender=name,
        url=json.loads((console.data_dir / "console.json").read_text())["defender_url"],
        key=key,
        certificate=signed.public_bytes(serialization.Encoding.PEM).decode(),
        authority=authority.pem,
    )


def test_anothers_name_on_a_certificate_that_was_not_given_opens_nothing(
    console: RunningConsole, join: Join
) -> None:
    assert send(made(console, join().id, days=10)) == REFUSED


def test_an_expired_certificate_does_not_come_in(console: RunningConsole, join: Join) -> None:
    # The handshake ends it; the alert that says so may come too late to be read.
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
        send(made(console, join().id, days=-1))


def test_a_connection_does_not_outlive_its_certificate(join: Join) -> None:
    one = join()
    der = ssl.PEM_cert_to_DER_cert(one.certificate)
    soon = datetime.now(UTC) + timedelta(days=limits.DEFENDER_DAYS - 1)
    assert identify(der, soon)[0] == one.id
    with pytest.raises(Refused, match="expired"):
        identify(der, soon + timedelta(days=2))


# --- removal


def test_one_that_is_removed_is_refused_and_its_streams_end(api: Client, join: Join) -> None:
    one, other = join("going"), join("staying")
    ended_after: list[float] = []
    listening = threading.Event()

    def listen() -> None:
        with one.listen() as told:
            next(told)
            listening.set()
            for _ in told:
                pass
        ended_after.append(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(10)
    with other.listen() as others:
        next(others)
        removed_at = time.monotonic()
        api.request("DELETE", f"/defenders/{one.id}")
        thread.join(10)
        assert ended_after[0] - removed_at < 2
        # Over the very connection that was let in before.
        assert one.send(one.batch()).status_code == REFUSED
        assert defender(api, other.id)["live"]
    answer = one.http.get("/defender/v1/stream")
    assert answer.status_code == REFUSED
    assert "not enrolled" in answer.json()["error"]["message"]
    other.post(other.batch())


def test_what_ran_there_has_stopped_and_what_it_told_stays(api: Client, join: Join) -> None:
    from tests.contract.test_defender_listener import edges, pair, some_flow

    one = join("leaving")
    one.post(one.batch(instances=pair("leaving"), snapshot=True, flows=[some_flow(3)]))
    api.request("DELETE", f"/defenders/{one.id}")
    assert edges(api, "leaving") == {("leaving/front", "leaving/back", 80): 3}
    nodes = {node["name"]: node for node in api.get("/radar")["nodes"]}
    assert nodes["leaving/front"]["instances"] == 0


def test_who_is_not_there_can_not_be_removed(console: RunningConsole) -> None:
    with console.raw() as http:
        answer = http.delete("/api/v1/defenders/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"]["where"] == "path.defender"


def test_addresses_and_what_is_kept_on_disk_are_shown(api: Client, join: Join) -> None:
    one = join("telling")
    batch = msgspec.structs.replace(
        one.batch(), spool=SpoolState(bytes=5, bytes_max=9, oldest_at=1_700_000_000_000)
    )
    one.post(batch)
    told = defender(api, one.id)
    assert told["addresses"] == one.host.addresses
    oldest = {"bytes": 5, "bytes_max": 9, "oldest_at": "2023-11-14T22:13:20.000Z"}
    assert told["spool"] == oldest
    assert told["expires_at"].startswith(str(datetime.now(UTC).year + 1))


@pytest.mark.parametrize("number", [-1, 2**60])
def test_a_spool_of_impossible_size_is_refused(join: Join, number: int) -> None:
    one = join()
    batch = msgspec.structs.replace(one.batch(), spool=SpoolState(bytes=number))
    assert one.send(encode_batch(batch)).status_code == 400


def test_a_console_that_can_not_renew_is_said_so(host: Host, console: RunningConsole) -> None:
    away = msgspec.structs.replace(host.renewal.identity, url="https://127.0.0.1:1")
    host.renewal.identity = away
    with pytest.raises(RenewalFailed, match="https://127"):
        asyncio.run(host.renewal.renew())
