"""What the Console tells is taken only where it means here what it means there."""

import msgspec
import pytest

from cnnf.defender.core.policy_document import read_document
from cnnf.policy.compiled import compile_policy
from cnnf.policy.errors import InvalidFormError, InvalidValueError
from cnnf.policy.form import parse_policy
from cnnf.protocol.codec import encode_json
from cnnf.protocol.messages import PolicyDocument
from cnnf.protocol.policy import decode_document

TEXT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: shop, type: image, values: ["shop/*"]}
  - {name: pay, type: dns, values: ["*.pay.example"]}
rules:
  containers:
    - {name: first, destination: [shop], effect: prevent, expires: 1970-01-02}
    - {name: second, destination: [shop], effect: alert, expires: 1970-01-03}
"""
DAY_MS = 86_400_000


def document(text: str = TEXT) -> PolicyDocument:
    """As the Console tells it."""
    digest = compile_policy(parse_policy(text, subject="x")).digest
    return PolicyDocument(generation=7, digest=digest, text=text)


@pytest.mark.parametrize(("days", "rules"), [(0, 2), (1, 1), (2, 0)])
def test_it_is_the_same_policy_whatever_has_expired(days: int, rules: int) -> None:
    _, compiled = read_document(document(), days * DAY_MS)
    assert len(compiled.rules) == rules


def test_what_is_told_as_it_is_understood_is_not_read() -> None:
    policy = parse_policy(TEXT, subject="x")
    told = msgspec.structs.replace(document(), text="not read", policy=policy)
    again = decode_document(encode_json(told))
    assert again == told
    assert read_document(again, 0)[0] == policy
    # But it means what the digest says, and is right.
    other = parse_policy(TEXT.replace("alert", "allow"), subject="x")
    with pytest.raises(InvalidValueError, match="it means something else here"):
        read_document(msgspec.structs.replace(told, policy=other), 0)
    wrong = msgspec.structs.replace(policy, objects=())
    with pytest.raises(InvalidValueError, match="shop"):
        read_document(msgspec.structs.replace(told, policy=wrong), 0)


def test_another_meaning_is_refused() -> None:
    told = msgspec.structs.replace(document(), digest="f" * 32)
    with pytest.raises(InvalidValueError, match="generation 7: it means something else here"):
        read_document(told, 0)


def test_an_error_says_where() -> None:
    told = msgspec.structs.replace(document(), text=TEXT.replace("alert", "deny"))
    with pytest.raises(InvalidFormError, match=r"generation 7:8:\d+: .*deny"):
        read_document(told, 0)
