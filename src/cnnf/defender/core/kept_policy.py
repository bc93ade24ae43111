"""The Console's policy as a Defender keeps it on disk: sealed MessagePack, whole and its own.

Whose policy it is stands in it: another Console's is none of this host's.
"""

import msgspec

from cnnf.defender.core.sealed import SEAL_BYTES, BrokenSealError, seal, unseal
from cnnf.protocol.limits import POLICY_BYTES_MAX
from cnnf.protocol.messages import PolicyDocument

_FIRST_LINE = b"cnnf policy 1\n"
#: As it was fetched, of which MessagePack takes less, and whose it is.
KEPT_BYTES_MAX = len(_FIRST_LINE) + SEAL_BYTES + POLICY_BYTES_MAX


class UnreadableKeptPolicyError(ValueError):
    """The bytes are not what was kept; the text says why."""


class _File(msgspec.Struct, array_like=True, frozen=True):
    owner: str
    document: PolicyDocument


_decoder = msgspec.msgpack.Decoder(_File)


def encode_kept(owner: str, document: PolicyDocument) -> bytes:
    """The file's bytes; `owner` is the Console whose policy it is."""
    return seal(_FIRST_LINE, msgspec.msgpack.encode(_File(owner, document)))


def decode_kept(data: bytes, owner: str) -> PolicyDocument | None:
    """The policy in a file; None where it is another Console's. Raises
    UnreadableKeptPolicyError."""
    if len(data) > KEPT_BYTES_MAX:
        raise UnreadableKeptPolicyError("it is larger than a policy can be")
    try:
        file = _decoder.decode(unseal(_FIRST_LINE, data))
    except (BrokenSealError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableKeptPolicyError(str(error)) from error
    return file.document if file.owner == owner else None
