"""What the Console tells of the policy, checked before anything is made of it.

The text is read by `policy.form`, which has bounds of its own.
"""

from cnnf.protocol import limits
from cnnf.protocol.codec import decode_json
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge
from cnnf.protocol.messages import PolicyDocument, PolicyNews


def decode_news(data: str) -> PolicyNews:
    """Which generation is to be in force. Raises MalformedMessage or MessageTooLarge."""
    news = decode_json(data, PolicyNews)
    _check(news.generation, news.digest)
    return news


def decode_document(data: bytes) -> PolicyDocument:
    """A generation of the policy. Raises MalformedMessage or MessageTooLarge."""
    if len(data) > limits.POLICY_BYTES_MAX:
        raise MessageTooLarge(f"policy: {len(data)} bytes, at most {limits.POLICY_BYTES_MAX}")
    document = decode_json(data, PolicyDocument)
    _check(document.generation, document.digest)
    return document


def _check(generation: int, digest: str) -> None:
    if not 0 < generation < 2**63:
        raise MalformedMessage(f"policy: generation {generation} is out of range")
    if not digest:
        raise MalformedMessage("policy: no digest")
    if len(digest) > limits.NAME_CHARS_MAX:
        raise MessageTooLarge(
            f"policy: digest of {len(digest)} characters, at most {limits.NAME_CHARS_MAX}"
        )
