"""Making secrets and hashing them. What is stored never lets anybody in."""

import base64
import hashlib
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

#: Two passes over 64 MiB, about 60 ms (RFC 9106's second recommendation has three; the Console
#: shares its machine with what it protects).
_PASSES, _KIBIBYTES, _LANES = 2, 65_536, 1
_hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_KIBIBYTES, parallelism=_LANES)


def _random(length: int) -> str:
    """As a hash has its parts: base64 without padding."""
    return base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")


#: Verified against when there is no such user, so that the answer takes as long. It is the hash of
#: nothing: to make one would take every start as long as somebody's login.
_NOBODY = f"$argon2id$v=19$m={_KIBIBYTES},t={_PASSES},p={_LANES}${_random(16)}${_random(32)}"

API_TOKEN_PREFIX = "cnnf_"  # noqa: S105 (a prefix, no secret)


def new_password() -> str:
    """20 characters of 32 (100 bits) in groups, without look-alikes."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a random secret; it needs no slow hash, nobody can guess 256 bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def hash_password(password: str) -> str:
    """The argon2id hash."""
    return _hasher.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """True when the password is right; takes as long when there is no such user (None)."""
    try:
        _hasher.verify(stored or _NOBODY, password)
    except VerificationError:
        return False
    return stored is not None
