"""What the Console tells of the policy: every bound is checked by whoever is told."""

import msgspec
import pytest

from cnnf.protocol import limits
from cnnf.protocol.codec import encode_json
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge, ProtocolError
from cnnf.protocol.messages import PolicyDocument, PolicyNews
from cnnf.protocol.policy import decode_document, decode_news

NEWS = PolicyNews(generation=3, digest="d")
DOCUMENT = PolicyDocument(generation=3, digest="d", text='"a"\n')


def test_what_is_told_is_read_back() -> None:
    assert decode_news(encode_json(NEWS).decode()) == NEWS
    assert decode_document(encode_json(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"generation": 0}, MalformedMessage),
        ({"generation": -1}, MalformedMessage),
        ({"generation": 2**63}, MalformedMessage),
        ({"digest": ""}, MalformedMessage),
        ({"digest": "d" * (limits.NAME_CHARS_MAX + 1)}, MessageTooLarge),
    ],
)
def test_what_is_out_of_range_is_refused(
    changes: dict[str, object], error: type[ProtocolError]
) -> None:
    with pytest.raises(error):
        decode_news(encode_json(msgspec.structs.replace(NEWS, **changes)).decode())
    with pytest.raises(error):
        decode_document(encode_json(msgspec.structs.replace(DOCUMENT, **changes)))


@pytest.mark.parametrize("data", ["", "{", "[]", '{"generation": 3}', '{"generation": "3"}'])
def test_what_is_no_message_is_refused(data: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_news(data)
    with pytest.raises(MalformedMessage):
        decode_document(data.encode())


def test_what_is_too_long_is_refused_unread() -> None:
    with pytest.raises(MessageTooLarge):
        decode_document(bytes(limits.POLICY_BYTES_MAX + 1))
