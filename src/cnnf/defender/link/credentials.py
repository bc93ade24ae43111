"""A Defender's identity on disk: its key, its certificate, whom it trusts, where the Console is.

One directory, readable by its owner only; each file is replaced as a whole.
"""

import ssl
from pathlib import Path

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cnnf.defender.link.errors import CredentialsBroken, EnrolmentFailed
from cnnf.protocol.codec import decode_json, encode_json
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import EnrolReply, EnrolRequest, Settings

_TIMEOUT_SECONDS = 10.0
_REPLY_BYTES_MAX = 64 * 1024


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Where the Console takes batches, and as whom we are known there."""

    defender: str
    url: str


class Credentials:
    """The directory's files, by meaning."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def enrolled(self) -> bool:
        """Is there a certificate to use?"""
        return all(
            (self._directory / name).is_file()
            for name in ("key.pem", "certificate.pem", "authority.pem", "link.json")
        )

    def link(self) -> Link:
        """Raises CredentialsBroken."""
        path = self._directory / "link.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Link)
        except (OSError, msgspec.DecodeError) as error:
            raise CredentialsBroken(f"{path}: {error}") from error

    def tls(self) -> ssl.SSLContext:
        """Our certificate, and nothing trusted but the Console's authority.

        Raises CredentialsBroken.
        """
        try:
            context = ssl.create_default_context(cafile=str(self._directory / "authority.pem"))
            context.load_cert_chain(
                self._directory / "certificate.pem", self._directory / "key.pem"
            )
        except (OSError, ssl.SSLError) as error:
            raise CredentialsBroken(f"{self._directory}: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def settings(self) -> Settings | None:
        """The settings that were last in force; None when there are none to read."""
        try:
            return decode_json((self._directory / "settings.json").read_bytes(), Settings)
        except (OSError, ProtocolError):
            return None

    def keep_settings(self, settings: Settings) -> None:
        """Remember what is in force, for a start without the Console. Raises OSError."""
        self._write("settings.json", encode_json(settings))

    def enrol(self, console: str, token: str, host: str, authority: Path | None) -> None:
        """Get a certificate for a new key. `authority` is whom to trust for an https Console.

        Raises EnrolmentFailed, CredentialsBroken.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "defender")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        signed = request.sign(key, hashes.SHA256())
        message = EnrolRequest(
            token=token,
            request=signed.public_bytes(serialization.Encoding.PEM).decode(),
            host=host,
        )
        reply = _post(f"{console}/api/v1/defenders/enrol", encode_json(message), authority)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write("key.pem", secret)
            self._write("certificate.pem", reply.certificate.encode())
            self._write("authority.pem", reply.authority.encode())
            link = Link(defender=reply.defender, url=reply.url)
            self._write("link.json", msgspec.json.encode(link))
        except OSError as error:
            raise CredentialsBroken(f"{self._directory}: {error}") from error

    def _write(self, name: str, content: bytes) -> None:
        partial = self._directory / f"{name}.new"
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_bytes(content)
        partial.replace(self._directory / name)


def _post(url: str, content: bytes, authority: Path | None) -> EnrolReply:
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        with httpx.Client(verify=context, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            answer = client.post(url, content=content, headers={"content-type": "application/json"})
    except (httpx.HTTPError, OSError, ssl.SSLError) as error:
        raise EnrolmentFailed(f"enrolling at {url}: {error or type(error).__name__}") from error
    if answer.status_code != 200:
        raise EnrolmentFailed(f"enrolling at {url}: {answer.status_code} {said(answer.content)}")
    try:
        return decode_json(answer.content[:_REPLY_BYTES_MAX], EnrolReply)
    except ProtocolError as error:
        raise EnrolmentFailed(f"enrolling at {url}: {error}") from error


class _Said(msgspec.Struct):
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Said


def said(body: bytes) -> str:
    """The sentence in the Console's error answer, cut; '' when it has none."""
    try:
        return msgspec.json.decode(body[:_REPLY_BYTES_MAX], type=_ErrorBody).error.message[:300]
    except msgspec.DecodeError:
        return ""
