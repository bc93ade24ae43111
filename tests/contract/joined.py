"""A Defender's side of the wire for tests: joins a running Console and posts batches.

Speaks real HTTPS with a real certificate; only what a Defender would observe is made up.
"""

import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cnnf.cli.client import Client
from cnnf.protocol.codec import CONTENT_TYPE, decode_json, encode_batch, encode_json
from cnnf.protocol.directory import decode_answers
from cnnf.protocol.messages import (
    Ack,
    Answers,
    Batch,
    Flow,
    Gap,
    HostInfo,
    Instance,
    Question,
    Settings,
    Sought,
)


def new_request(name: str = "joining") -> tuple[ec.EllipticCurvePrivateKey, str]:
    """A key and the PEM signing request for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .sign(key, hashes.SHA256())
    )
    return key, request.public_bytes(serialization.Encoding.PEM).decode()


def client_context(
    authority: str, certificate: str, key: ec.EllipticCurvePrivateKey
) -> ssl.SSLContext:
    """What a Defender connects with."""
    context = ssl.create_default_context(cadata=authority)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "both.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem + certificate.encode())
        context.load_cert_chain(path)
    return context


class Joined:
    """An enrolled Defender with a connection of its own."""

    def __init__(self, api: Client, host: str = "web-1") -> None:
        self.host = HostInfo(name=host, addresses=["192.0.2.10", "10.0.0.10"], version="0.1.0")
        token = api.post("/defenders/tokens")
        self.key, request = new_request()
        reply = api.post(
            "/defenders/enrol", {"token": token["token"], "request": request, "host": host}
        )
        self.id: str = reply["defender"]
        self.authority: str = reply["authority"]
        self.certificate: str = reply["certificate"]
        self.url: str = reply["url"]
        self.incarnation = os.urandom(16).hex()
        self.sequence = 0
        self.http = httpx.Client(
            base_url=self.url,
            verify=client_context(self.authority, self.certificate, self.key),
            trust_env=False,
            timeout=10,
        )

    def batch(
        self,
        *,
        flows: list[Flow] | None = None,
        instances: list[Instance] | None = None,
        snapshot: bool = False,
        gap: Gap | None = None,
        applied: Settings | None = None,
    ) -> Batch:
        """The next batch."""
        self.sequence += 1
        return Batch(
            incarnation=self.incarnation,
            sequence=self.sequence,
            sent_at=now_ms(),
            host=self.host,
            snapshot=snapshot,
            instances=instances or [],
            flows=flows or [],
            gap=gap,
            applied=applied,
        )

    def send(self, data: bytes | Batch) -> httpx.Response:
        """Post a batch, or bytes in place of one."""
        body = encode_batch(data) if isinstance(data, Batch) else data
        return self.http.post(
            "/defender/v1/batches", content=body, headers={"Content-Type": CONTENT_TYPE}
        )

    def post(self, batch: Batch) -> Ack:
        """Post a batch that has to be taken."""
        answer = self.send(batch)
        assert answer.status_code == 200, answer.text
        return decode_json(answer.content, Ack)

    @contextmanager
    def listen(self) -> Iterator[Iterator[Settings]]:
        """The settings, as they come."""
        with self.stream() as events:
            yield (decode_json(data, Settings) for event, data in events if event == "settings")

    @contextmanager
    def stream(self) -> Iterator[Iterator[tuple[str, str]]]:
        """Everything that is streamed: event and data."""
        with self.http.stream("GET", "/defender/v1/stream") as answer:
            assert answer.status_code == 200
            yield _events(answer.iter_lines())

    def ask(self, *sought: Sought) -> Answers:
        """Ask the directory; it has to answer."""
        answer = self.question(encode_json(Question(sought=list(sought))))
        assert answer.status_code == 200, answer.text
        return decode_answers(answer.content)

    def question(self, body: bytes) -> httpx.Response:
        """Ask the directory with these bytes."""
        return self.http.post(
            "/defender/v1/directory", content=body, headers={"Content-Type": "application/json"}
        )

    def close(self) -> None:
        """Hang up."""
        self.http.close()


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, line.removeprefix("data: ")


def now_ms() -> int:
    """The time in milliseconds."""
    return time.time_ns() // 1_000_000
