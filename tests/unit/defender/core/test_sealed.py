"""Whatever happens to kept bytes is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.sealed import BrokenSealError, seal, unseal

LINE = b"cnnf something 1\n"


@given(st.binary())
def test_what_is_sealed_is_read_back(content: bytes) -> None:
    assert unseal(LINE, seal(LINE, content)) == content


@given(st.binary(), st.data())
def test_any_change_is_a_broken_seal(content: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(LINE, content))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BrokenSealError):
        unseal(LINE, bytes(sealed))


@given(st.binary(), st.data())
def test_what_was_cut_is_a_broken_seal(content: bytes, data: st.DataObject) -> None:
    sealed = seal(LINE, content)
    with pytest.raises(BrokenSealError):
        unseal(LINE, sealed[: data.draw(st.integers(0, len(sealed) - 1))])
