"""What is known of ends elsewhere, as one file: bytes that are whole and ours, or none.

MessagePack, sealed. Whose answers they are stands in it, since another Console knows other hosts.
"""

import msgspec

from cnnf.defender.core.limits import PEERS_MAX
from cnnf.defender.core.peers import Crowd, Kept
from cnnf.defender.core.sealed import BrokenSealError, seal, unseal
from cnnf.policy.endpoints import Identity

_FIRST_LINE = b"cnnf peers 1\n"


class UnreadablePeersError(ValueError):
    """The bytes are not what was kept; the text says why."""


class _File(msgspec.Struct, array_like=True, frozen=True):
    """`crowds` are those that `ends` name by their place in the list: each end is (address, port,
    protocol, crowd, used at)."""

    owner: str
    public: list[str]
    crowds: list[tuple[list[Identity], bool]]
    ends: list[tuple[bytes, int, int, int, int]]


_decoder = msgspec.msgpack.Decoder(_File)


def encode_peers(owner: str, public: tuple[str, ...], kept: list[Kept]) -> bytes:
    """The file's bytes; `owner` is whom the answers were given to."""
    numbers: dict[Crowd, int] = {}
    ends = [(*one.place, numbers.setdefault(one.crowd, len(numbers)), one.used_at) for one in kept]
    crowds = [(list(crowd.identities), crowd.more) for crowd in numbers]
    content = msgspec.msgpack.encode(_File(owner, list(public), crowds, ends))
    return seal(_FIRST_LINE, content)


def decode_peers(data: bytes, owner: str) -> tuple[list[str], list[Kept]]:
    """The networks and answers in a file. Raises UnreadablePeersError."""
    try:
        content = unseal(_FIRST_LINE, data)
    except BrokenSealError as error:
        raise UnreadablePeersError(str(error)) from error
    try:
        file = _decoder.decode(content)
    except msgspec.DecodeError as error:
        raise UnreadablePeersError(f"it does not decode: {error}") from error
    if file.owner != owner:
        raise UnreadablePeersError("it was kept for another Defender or Console")
    if len(file.ends) > PEERS_MAX:
        raise UnreadablePeersError(f"{len(file.ends)} answers, at most {PEERS_MAX}")
    crowds = [Crowd(tuple(identities), more) for identities, more in file.crowds]
    kept = []
    for address, port, protocol, number, used_at in file.ends:
        if len(address) not in (4, 16) or not 0 <= number < len(crowds) or used_at < 0:
            raise UnreadablePeersError("an answer points nowhere")
        if not (0 <= port <= 65_535 and 0 <= protocol <= 255):
            raise UnreadablePeersError("an answer points nowhere")
        kept.append(Kept((address, port, protocol), crowds[number], used_at))
    return file.public, kept
