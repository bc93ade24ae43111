"""A policy on disk is whole and of its Console, or none."""

import pytest

from cnnf.defender.core.kept_policy import (
    KEPT_BYTES_MAX,
    UnreadableKeptPolicyError,
    decode_kept,
    encode_kept,
)
from cnnf.defender.core.sealed import seal
from cnnf.protocol.messages import PolicyDocument

DOCUMENT = PolicyDocument(generation=7, digest="d", text="apiVersion: cnnf/v1\n")


def test_a_policy_is_its_consoles() -> None:
    kept = encode_kept("this", DOCUMENT)
    assert decode_kept(kept, "this") == DOCUMENT
    assert decode_kept(kept, "another") is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no file of ours"),
        (encode_kept("this", DOCUMENT)[:-1], "damaged"),
        (bytes(KEPT_BYTES_MAX + 1), "larger"),
        (seal(b"cnnf policy 1\n", b"\xc1"), "MessagePack|malformed"),
        (seal(b"cnnf policy 1\n", b"\x92\xa4this\x80"), "generation"),
    ],
)
def test_what_is_no_policy_says_so(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableKeptPolicyError, match=says):
        decode_kept(data, "this")
