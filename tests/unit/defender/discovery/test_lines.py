"""Lines out of chunks: whatever the cuts, the same lines; too long ones dropped and counted."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.discovery.lines import LineSplitter


@given(
    st.lists(
        st.binary(min_size=1, max_size=30).filter(lambda b: b"\n" not in b and b.strip()),
        max_size=10,
    ),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_cuts_do_not_matter(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    splitter = LineSplitter(30)
    found = [line for start, end in pairwise(places) for line in splitter.feed(data[start:end])]
    assert found == lines
    assert splitter.dropped == 0


def test_overlong_lines_are_dropped_once_and_the_next_is_found() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"x" * 11)) == []
    assert list(splitter.feed(b"x" * 1000)) == []
    assert list(splitter.feed(b"xx\nnext\n" + b"y" * 11 + b"\nlast\n")) == [b"next", b"last"]
    assert splitter.dropped == 2


def test_empty_lines_are_left_out() -> None:
    assert list(LineSplitter(10).feed(b"\n \r\na\n")) == [b"a"]
