"""The Console's certificates: made once, renewed in time, good for one purpose each."""

import contextlib
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cnnf.console import limits
from cnnf.console.authority import Authority
from cnnf.console.errors import CannotStart, Refused
from tests.contract.joined import new_request

NAMES = ["127.0.0.1", "::1", "console.example", "localhost"]


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_authority_stays_and_the_server_is_renewed_in_time(tmp_path: Path) -> None:
    first = Authority(tmp_path / "tls")
    certificate, key = first.server(NAMES)
    again = Authority(tmp_path / "tls")
    assert again.fingerprint == first.fingerprint
    serial = load(certificate).serial_number
    assert load(again.server(NAMES)[0]).serial_number == serial
    almost = datetime.now(UTC) + timedelta(days=limits.SERVER_DAYS - limits.SERVER_RENEW_DAYS + 1)
    assert load(again.server(NAMES, almost)[0]).serial_number != serial
    for path in (tmp_path / "tls").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert key.exists()


def test_running_listeners_get_the_new_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    server = authority.server_context(NAMES, defenders=False)
    almost = datetime.now(UTC) + timedelta(days=limits.SERVER_DAYS - 1)
    before = load(tmp_path / "tls" / "server.pem").serial_number
    authority.renew(almost)
    client = ssl.create_default_context(cadata=authority.pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    shown = ends[0].getpeercert(binary_form=True)
    assert shown is not None
    assert x509.load_der_x509_certificate(shown).serial_number != before


def test_other_names_make_another_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    serial = load(authority.server(NAMES)[0]).serial_number
    path, _ = authority.server([*NAMES, "other.example"])
    assert load(path).serial_number != serial
    names = load(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(n.value) for n in names} == {*NAMES, "other.example"}


def test_purposes_are_kept_apart(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    _, request = new_request()
    pem = authority.sign(request, "d" * 32).pem
    defender = x509.load_pem_x509_certificate(pem.encode())
    server = load(authority.server(NAMES)[0])
    for certificate, purpose in (
        (defender, ExtendedKeyUsageOID.CLIENT_AUTH),
        (server, ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [purpose]
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert not basic.ca
        certificate.verify_directly_issued_by(authority.certificate)


def test_weak_or_foreign_requests_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    authority = Authority(tmp_path / "tls")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP521R1())):
        request = builder.sign(key, hashes.SHA256())
        with pytest.raises(Refused, match="P-256"):
            authority.sign(request.public_bytes(serialization.Encoding.PEM).decode(), "d")
    for text in ("", "x" * (limits.REQUEST_CHARS_MAX + 1), "é"):
        with pytest.raises(Refused, match="signing request"):
            authority.sign(text, "d")


def test_a_damaged_authority_is_said_so(tmp_path: Path) -> None:
    Authority(tmp_path / "tls")
    (tmp_path / "tls" / "ca.key").write_text("nonsense")
    with pytest.raises(CannotStart, match="cannot be used"):
        Authority(tmp_path / "tls")
