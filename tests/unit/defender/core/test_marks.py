"""Our four bits, wherever they are put, and everybody else's left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.marks import DEFAULT_MASK, Marks, marks_at
from cnnf.policy.errors import InvalidValueError

places = st.integers(0, 28)
packet_marks = st.integers(0, 0xFFFFFFFF)
generations = st.integers(0, 2**40)


@given(places)
def test_any_four_neighbouring_bits_will_do(shift: int) -> None:
    marks = marks_at(0xF << shift)
    own = (marks.ask, marks.remember, marks.refuse, marks.judged)
    assert own == tuple(1 << shift + bit for bit in range(4))
    assert sum(own) == marks.mask
    assert marks.keep ^ marks.mask == 0xFFFFFFFF


@pytest.mark.parametrize(
    "mask",
    [0, -1, -0xF, 1, 0x7, 0x1F, 0x3C01, 0x2C00, 0x33, 0xFF, 0xF0000000 << 1, 0xF00000000, 1 << 40],
)
def test_other_masks_are_refused(mask: int) -> None:
    with pytest.raises(InvalidValueError, match="four neighbouring bits"):
        marks_at(mask)


@given(st.integers(-(2**33), 2**33))
def test_no_mask_is_taken_wrongly(mask: int) -> None:
    right = any(mask == 0xF << shift for shift in range(29))
    try:
        assert marks_at(mask).mask == mask
    except InvalidValueError:
        assert not right
    else:
        assert right


def test_the_default_is_away_from_kube_proxy_and_cilium() -> None:
    assert marks_at(DEFAULT_MASK).mask & (0xC000 | 0x0F00 & ~DEFAULT_MASK) == 0
    assert marks_at(DEFAULT_MASK) == Marks(
        mask=0x3C00, ask=0x400, remember=0x800, refuse=0x1000, judged=0x2000
    )


@given(places, packet_marks, st.booleans(), generations, st.booleans())
def test_a_verdict_keeps_everybody_elses_bits(
    shift: int, mark: int, remember: bool, generation: int, refuse: bool
) -> None:
    marks = marks_at(0xF << shift)
    new = marks.verdict(mark, remember=remember, generation=generation, refuse=refuse)
    assert new & marks.keep == mark & marks.keep
    assert 0 <= new <= 0xFFFFFFFF
    assert new & marks.judged
    assert bool(new & marks.refuse) == refuse


@given(places, packet_marks, generations, st.booleans())
def test_the_table_recognises_what_is_to_be_remembered(
    shift: int, mark: int, generation: int, refuse: bool
) -> None:
    marks = marks_at(0xF << shift)
    new = marks.verdict(mark, remember=True, generation=generation, refuse=refuse)
    assert new & marks.mask == marks.remembered(generation, refuse=refuse)
    assert new & marks.mask != marks.remembered(generation, refuse=not refuse)
    assert new & marks.mask != marks.remembered(generation + 1, refuse=refuse)
    assert marks.remembered(generation) == marks.remembered(generation + 2)


@given(places, packet_marks, generations, st.booleans())
def test_what_is_not_to_be_remembered_never_looks_so(
    shift: int, mark: int, generation: int, refuse: bool
) -> None:
    marks = marks_at(0xF << shift)
    own = marks.verdict(mark, remember=False, generation=generation, refuse=refuse) & marks.mask
    assert own == (marks.judged | marks.refuse if refuse else marks.judged)
    assert own not in {
        marks.remembered(parity, refuse=also) for parity in (0, 1) for also in (False, True)
    }
