"""The Console's own certificate authority: its certificate, the server's, and the Defenders'.

Everything is ECDSA P-256 under `<data-dir>/tls/`, keys readable by their owner only. A Defender's
certificate is good for the Defender listener and for nothing else.
"""

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cnnf.console import limits
from cnnf.console.errors import CannotStart, Refused

Certificate = x509.Certificate
Key = ec.EllipticCurvePrivateKey


class Issued(NamedTuple):
    """A certificate for a Defender; `expires_at` in ms since the epoch."""

    pem: str
    fingerprint: bytes
    expires_at: int


class Authority:
    """Loads or makes the authority in this directory; `server` gives the server's certificate."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._contexts: list[tuple[ssl.SSLContext, list[str]]] = []
        self.key, self.certificate = self._load_or_make()

    @property
    def pem(self) -> str:
        """The authority's certificate."""
        return _pem(self.certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate in hex, for a joiner to pin."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def _load_or_make(self) -> tuple[Key, Certificate]:
        key_path, path = self._directory / "ca.key", self._directory / "ca.pem"
        if key_path.exists() and path.exists():
            return _load_key(key_path), _load_certificate(path)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cnnf Console authority")])
        certificate = (
            _builder(name, name, key.public_key(), limits.AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        # The key last: a start that is cut short in between makes both anew.
        write_private(path, _pem(certificate).encode())
        write_private(key_path, _key_pem(key))
        return key, certificate

    def server(self, names: list[str], now: datetime | None = None) -> tuple[Path, Path]:
        """Paths of the server's certificate and key; made anew near expiry or for other names."""
        now = now or datetime.now(UTC)
        path, key_path = self._directory / "server.pem", self._directory / "server.key"
        if path.exists() and key_path.exists() and self._serves(path, names, now):
            return path, key_path
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cnnf Console")])
        certificate = (
            _builder(subject, self.certificate.subject, key.public_key(), limits.SERVER_DAYS)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(self._issuer(), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        write_private(key_path, _key_pem(key))
        write_private(path, _pem(certificate).encode())
        return path, key_path

    def _serves(self, path: Path, names: list[str], now: datetime) -> bool:
        certificate = _load_certificate(path)
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        present = {str(name.value) for name in extension.value}
        left = certificate.not_valid_after_utc - now
        return present == set(names) and left > timedelta(days=limits.SERVER_RENEW_DAYS)

    def sign(self, request: str, defender: str) -> Issued:
        """A certificate for this Defender from its PEM signing request.

        Of the request only the key is taken. Raises Refused, naming `body.request`.
        """
        where = "body.request"
        if len(request) > limits.REQUEST_CHARS_MAX:
            raise Refused("the signing request is too long", where=where)
        try:
            parsed = x509.load_pem_x509_csr(request.encode())
            public = parsed.public_key()
            valid = parsed.is_signature_valid
        except Exception as error:  # the parser raises whatever its parts raise on hostile input
            raise Refused(f"no PEM signing request: {error}", where=where) from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.key_size != 256:
            raise Refused("the key is not ECDSA P-256", where=where)
        if not valid:
            raise Refused("the signing request is not signed by its own key", where=where)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, defender)])
        certificate = (
            _builder(subject, self.certificate.subject, public, limits.DEFENDER_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(self._issuer(), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Issued(
            _pem(certificate),
            certificate.fingerprint(hashes.SHA256()),
            int(certificate.not_valid_after_utc.timestamp()) * 1000,
        )

    def _issuer(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    def server_context(self, names: list[str], *, defenders: bool) -> ssl.SSLContext:
        """TLS 1.2 or later with the server's certificate; `defenders` demands one of theirs."""
        certificate, key = self.server(names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        if defenders:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.pem)
        self._contexts.append((context, names))
        return context

    def renew(self, now: datetime | None = None) -> None:
        """Let running listeners use a new server certificate when theirs is near its end."""
        for context, names in self._contexts:
            context.load_cert_chain(*self.server(names, now))


def identify(der: bytes, now: datetime | None = None) -> tuple[str, bytes]:
    """Whom a verified client certificate names, and its fingerprint. Raises Refused.

    A connection may outlive the certificate that it was made with, so its end is looked at again.
    """
    certificate = x509.load_der_x509_certificate(der)
    if certificate.not_valid_after_utc < (now or datetime.now(UTC)):
        raise Refused("the client certificate has expired", code="forbidden")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise Refused("the client certificate names nobody", code="forbidden")
    return str(names[0].value), certificate.fingerprint(hashes.SHA256())


def write_private(path: Path, data: bytes) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # An hour of grace for hosts whose clocks are behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _load_key(path: Path) -> Key:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unreadable(path, "not an ECDSA key")
    return key


def _load_certificate(path: Path) -> Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: object) -> CannotStart:
    return CannotStart(
        f"{path}: cannot be used: {error}",
        hint="Restore it from a backup; every Defender trusts this authority.",
    )
