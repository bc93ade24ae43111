"""A Defender's identity on disk: its key, its certificate, whom it trusts, where the Console is.

One directory, readable by its owner only. All of the identity is one file, replaced as a whole and
on disk before it is used: whoever is cut short has the one before or the one after.
"""

import contextlib
import os
import re
import ssl
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cnnf.defender.core.kept_policy import KEPT_BYTES_MAX
from cnnf.defender.link.errors import CredentialsBroken
from cnnf.protocol.codec import decode_json, encode_json
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import Settings

_IDENTITY = "identity.json"
#: How it was kept before: read when there is no identity, removed when there is one.
_FORMER = ("key.pem", "certificate.pem", "authority.pem", "link.json")
_IDENTITY_BYTES_MAX = 64 * 1024
_POLICY = "policy"
_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """As whom we are known to the Console at `url`, and how to show it; all but these are PEM."""

    defender: str
    url: str
    key: str
    certificate: str
    authority: str

    def valid(self) -> tuple[datetime, datetime]:
        """From when and until when the certificate is good. Raises CredentialsBroken."""
        try:
            parsed = x509.load_pem_x509_certificate(self.certificate.encode())
        except ValueError as error:
            raise CredentialsBroken(f"the certificate can't be read: {error}") from error
        return parsed.not_valid_before_utc, parsed.not_valid_after_utc


class _FormerLink(msgspec.Struct, frozen=True, kw_only=True):
    defender: str
    url: str


class Credentials:
    """The directory's files, by meaning."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def enrolled(self) -> bool:
        """Is there an identity to use?"""
        return (self.directory / _IDENTITY).is_file() or all(
            (self.directory / name).is_file() for name in _FORMER
        )

    def identity(self) -> Identity:
        """Raises CredentialsBroken."""
        path = self.directory / _IDENTITY
        try:
            if not path.exists() and self.enrolled:
                return self._former()
            if path.stat().st_size > _IDENTITY_BYTES_MAX:
                raise CredentialsBroken(f"{path}: too large to be an identity")
            return msgspec.json.decode(path.read_bytes(), type=Identity)
        except FileNotFoundError as error:
            raise CredentialsBroken(
                f"{self.directory}: this host has not joined a Console: `cnnf defender join`"
            ) from error
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CredentialsBroken(f"{path}: {error}") from error

    def prepare(self) -> None:
        """See that an identity could be kept here, before one is asked for.

        Raises CredentialsBroken.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.directory / f"{_IDENTITY}.new"
            _write(probe, bytes(_IDENTITY_BYTES_MAX))
            probe.unlink()
        except OSError as error:
            raise CredentialsBroken(f"{self.directory}: {error.strerror or error}") from error

    def keep(self, identity: Identity) -> None:
        """Be this from now on; on disk when it returns. Raises CredentialsBroken."""
        try:
            self._replace(_IDENTITY, msgspec.json.encode(identity))
            for name in _FORMER:
                (self.directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise CredentialsBroken(f"{self.directory}: {error.strerror or error}") from error

    def settings(self) -> Settings | None:
        """The settings that were last in force; None when there are none to read."""
        try:
            return decode_json((self.directory / "settings.json").read_bytes(), Settings)
        except (OSError, ProtocolError):
            return None

    def keep_settings(self, settings: Settings) -> None:
        """Remember what is in force, for a start without the Console. Raises OSError."""
        self._replace("settings.json", encode_json(settings))

    def policy(self) -> bytes | None:
        """The policy that was last in force (`core/kept_policy.py`); None when none was kept.

        Raises OSError.
        """
        try:
            with (self.directory / _POLICY).open("rb") as file:
                # One byte more than there may be: then it is damaged.
                return file.read(KEPT_BYTES_MAX + 1)
        except FileNotFoundError:
            return None

    def keep_policy(self, content: bytes) -> None:
        """Keep what is in force, for a start without the Console. Raises OSError."""
        self._replace(_POLICY, content)

    def forget_settings(self) -> None:
        """Another Console counts its generations anew. Raises CredentialsBroken."""
        try:
            (self.directory / "settings.json").unlink(missing_ok=True)
        except OSError as error:
            raise CredentialsBroken(f"{self.directory}: {error.strerror or error}") from error

    def _former(self) -> Identity:
        key, certificate, authority, link = (
            (self.directory / name).read_text("ascii") for name in _FORMER
        )
        there = msgspec.json.decode(link, type=_FormerLink)
        return Identity(
            defender=there.defender,
            url=there.url,
            key=key,
            certificate=certificate,
            authority=authority,
        )

    def _replace(self, name: str, content: bytes) -> None:
        partial = self.directory / f"{name}.new"
        _write(partial, content)
        partial.replace(self.directory / name)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def present(context: ssl.SSLContext, identity: Identity) -> None:
    """Show this certificate in every handshake from now on. Raises CredentialsBroken."""
    # The ssl module takes keys from files only; this one is never on a disk.
    descriptor = os.memfd_create("identity")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(f"{identity.key}\n{identity.certificate}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (OSError, ssl.SSLError) as error:
        raise CredentialsBroken(f"key and certificate can't be used: {error}") from error
    finally:
        os.close(descriptor)


def tls(identity: Identity) -> ssl.SSLContext:
    """Our certificate, and the Console's authority as all we trust. Raises CredentialsBroken."""
    try:
        context = ssl.create_default_context(cadata=identity.authority)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise CredentialsBroken(f"the authority's certificate can't be used: {error}") from error
    present(context, identity)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def new_key() -> tuple[str, str]:
    """A new ECDSA P-256 key and a signing request for it, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Who we are is for the Console to say: it takes the key from the request and nothing else.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "defender")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return secret.decode(), request.public_bytes(serialization.Encoding.PEM).decode()


def check(identity: Identity) -> None:
    """The certificate is for the key and from the authority. Raises CredentialsBroken."""
    try:
        certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
        authority = x509.load_pem_x509_certificate(identity.authority.encode())
        key = serialization.load_pem_private_key(identity.key.encode(), None)
        certificate.verify_directly_issued_by(authority)
    except Exception as error:  # the parser raises whatever its parts raise on hostile input
        why = str(error) or type(error).__name__
        raise CredentialsBroken(f"the certificate can't be used: {why}") from error
    if certificate.public_key() != key.public_key():
        raise CredentialsBroken("the certificate is for another key")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    # It names directories on this host, too.
    if not _NAME.fullmatch(identity.defender):
        raise CredentialsBroken("the Console gave no name that can be used")
    if [name.value for name in names] != [identity.defender]:
        raise CredentialsBroken("the certificate is for another Defender")


def _write(path: Path, content: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
