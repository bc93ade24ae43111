"""What waits for the Console, on a real disk: kept, told once, or announced as lost.

The other side is the Console's own decision table, with a mark for each incarnation.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.console.core.sequence import decide
from cnnf.defender.core.conditions import Code
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.core.spool import HEAD_BYTES, decode
from cnnf.defender.link.backlog import Backlog
from cnnf.defender.link.spool import SpoolFiles
from cnnf.protocol.codec import decode_batch, encode_batch
from cnnf.protocol.messages import Batch, Condition, HostInfo

MIB = 2**20
IDENTITY = "d" * 32
_numbers = itertools.count(1)


class Process:
    """One Defender process's way to the Console, without the network."""

    def __init__(self, place: Path, *, quota: int = MIB, identity: str = IDENTITY) -> None:
        self.incarnation = f"{next(_numbers):032x}"
        self.outbox = Outbox(self.incarnation, batches_max=1_000, bytes_max=16 * MIB)
        self.conditions: dict[Code, str] = {}
        self.directory = place / "spool" / identity
        self.backlog = Backlog(
            self.outbox,
            SpoolFiles(place / "spool", identity),
            quota,
            happened=self.conditions.__setitem__,
            raise_=self.conditions.__setitem__,
            clear=self._clear,
        )

    def _clear(self, code: Code) -> None:
        self.conditions.pop(code, None)

    def put(self, count: int = 1, *, padding: int = 0) -> None:
        """Make batches with three flows each; random padding makes them larger."""
        for _ in range(count):
            batch = Batch(
                incarnation=self.incarnation,
                sequence=self.outbox.sequence(),
                sent_at=1_000,
                host=HostInfo(name="h"),
                conditions=[
                    Condition(code="x", severity="info", message=os.urandom(500).hex(), since=0)
                    for _ in range(padding // 500)
                ],
            )
            self.outbox.put(encode_batch(batch), 3, sent_at=1_000, now=0.0)

    async def deliver(self, console: "Console", most: int = 10_000) -> None:
        """Send so many, each acknowledged."""
        for _ in range(most):
            parcel = await self.backlog.first()
            if parcel is None:
                return
            batch = decode_batch(parcel.data)
            mark = console.post(batch)
            if mark is None:
                self.outbox.missing(parcel.incarnation, parcel.sequence)
            else:
                self.outbox.acknowledged(batch.incarnation, mark)
        assert most < 10_000, "it never ends"

    @property
    def segments(self) -> list[Path]:
        """The files there are."""
        return sorted(self.directory.glob("*.segment"))


class Console:
    """What the Console has taken and was told of, by incarnation."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.taken: list[tuple[str, int]] = []
        self.announced: set[tuple[str, int]] = set()
        self.flows_lost = 0

    def post(self, batch: Batch) -> int | None:
        """The acknowledgement; None where a batch is missing."""
        mark = self.marks.get(batch.incarnation, 0)
        decision = decide(mark, batch.sequence, batch.gap)
        if decision == "missing":
            return None
        if decision == "take":
            if batch.gap is not None:
                hole = range(batch.gap.first, batch.gap.last + 1)
                self.announced |= {(batch.incarnation, number) for number in hole}
                self.flows_lost += batch.gap.flows
            if batch.host is not None:
                self.taken.append((batch.incarnation, batch.sequence))
            self.marks[batch.incarnation] = mark = batch.sequence
        return mark


def of(process: Process, *numbers: int) -> list[tuple[str, int]]:
    """These batches of this process."""
    return [(process.incarnation, number) for number in numbers]


def test_the_next_process_tells_what_the_one_before_could_not(tmp_path: Path) -> None:
    async def script() -> None:
        console, one, two = Console(), Process(tmp_path), Process(tmp_path)
        await one.backlog.open()
        one.put(5)
        await one.deliver(console, 2)
        await one.backlog.keep_all()
        assert len(one.segments) == 1
        assert len(one.outbox) == 0
        await two.backlog.open()
        two.put(2)
        assert two.backlog.state.bytes == one.segments[0].stat().st_size
        assert two.backlog.state.oldest_at > 0
        await two.deliver(console)
        assert console.taken == of(one, 1, 2, 3, 4, 5) + of(two, 1, 2)
        assert console.announced == set()
        assert two.segments == []
        assert two.backlog.empty
        assert two.conditions == {}

    asyncio.run(script())


def test_with_the_console_there_the_disk_is_not_touched(tmp_path: Path) -> None:
    async def script() -> None:
        console, one = Console(), Process(tmp_path)
        await one.backlog.open()
        for _ in range(50):
            one.put()
            await one.deliver(console)
            await one.backlog._keep(0.0)
        assert one.segments == []
        assert len(console.taken) == 50

    asyncio.run(script())


def test_what_came_to_the_disk_in_one_process_is_told_by_it_in_order(tmp_path: Path) -> None:
    async def script() -> None:
        console, one = Console(), Process(tmp_path)
        await one.backlog.open()
        for _ in range(3):
            one.put(2)
            await one.backlog.keep_all()
            one.put(1)
            await one.deliver(console, 1)
        await one.deliver(console)
        assert console.taken == of(one, *range(1, 10))
        assert one.segments == []
        assert console.announced == set()

    asyncio.run(script())


def test_beyond_the_quota_the_oldest_segment_goes_and_is_announced(tmp_path: Path) -> None:
    async def script() -> None:
        console, one, two = Console(), Process(tmp_path, quota=MIB // 8), Process(tmp_path)
        await one.backlog.open()
        for _ in range(100):
            one.put(1, padding=4_000)
            await one.backlog.keep_all()
        size = sum(path.stat().st_size for path in one.segments)
        assert MIB // 16 < size <= MIB // 8
        assert "batches-lost" in one.conditions
        await one.deliver(console)
        numbers = [number for _, number in console.taken]
        assert numbers == list(range(numbers[0], 101))
        assert console.announced == set(of(one, *range(1, numbers[0])))
        assert console.flows_lost == 3 * (numbers[0] - 1)
        await two.backlog.open()
        assert two.backlog.empty

    asyncio.run(script())


def test_a_smaller_quota_gives_up_what_a_former_process_has_left(tmp_path: Path) -> None:
    async def script() -> None:
        console, one = Console(), Process(tmp_path, quota=MIB // 2)
        await one.backlog.open()
        for _ in range(60):
            one.put(1, padding=4_000)
            await one.backlog.keep_all()
        two = Process(tmp_path, quota=MIB // 256)
        await two.backlog.open()
        assert two.backlog.state.bytes == 0
        two.put(1)
        await two.deliver(console)
        # Nothing of the former fits, and that is said by a batch made for it.
        assert console.taken == of(two, 1)
        assert console.announced == set(of(one, *range(1, 61)))
        assert console.flows_lost == 180

    asyncio.run(script())


def test_without_a_quota_nothing_is_written(tmp_path: Path) -> None:
    async def script() -> None:
        console, one = Console(), Process(tmp_path, quota=0)
        await one.backlog.open()
        one.put(3)
        await one.backlog.keep_all()
        assert not (tmp_path / "spool").exists()
        await one.deliver(console)
        assert console.taken == of(one, 1, 2, 3)
        assert one.conditions == {}

    asyncio.run(script())


def test_another_identity_never_tells_it(tmp_path: Path) -> None:
    async def script() -> None:
        console, one = Console(), Process(tmp_path)
        await one.backlog.open()
        one.put(3)
        await one.backlog.keep_all()
        two = Process(tmp_path, identity="e" * 32)
        await two.backlog.open()
        await two.deliver(console)
        assert console.taken == []
        assert not one.directory.exists()

    asyncio.run(script())


def keep_some(place: Path) -> Process:
    """A process that has left three batches on disk, in one segment."""

    async def script() -> Process:
        one = Process(place)
        await one.backlog.open()
        one.put(3)
        await one.backlog.keep_all()
        return one

    return asyncio.run(script())


def tell_rest(place: Path) -> tuple[Process, Console]:
    """The next process has told all there was, and a batch of its own."""

    async def script() -> tuple[Process, Console]:
        console, two = Console(), Process(place)
        await two.backlog.open()
        two.put()
        await two.deliver(console)
        return two, console

    return asyncio.run(script())


def test_a_segment_cut_at_any_byte_is_told_up_to_there(tmp_path: Path) -> None:
    one = keep_some(tmp_path / "whole")
    whole = one.segments[0].read_bytes()
    for cut in range(len(whole)):
        place = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", place)
        (place / "spool" / IDENTITY / one.segments[0].name).write_bytes(whole[:cut])
        two, console = tell_rest(place)
        good = [record.sequence for record in decode(whole[:cut]).records]
        assert console.taken == of(one, *good) + of(two, 1)
        assert two.segments == []
        whole_records = bool(good) and cut == HEAD_BYTES + sum(
            28 + len(record.data) for record in decode(whole[:cut]).records
        )
        assert ("spool-damaged" in two.conditions) == (not whole_records and cut != HEAD_BYTES)
        shutil.rmtree(place)


def test_what_is_no_segment_is_refused_and_gone(tmp_path: Path) -> None:
    one = keep_some(tmp_path)
    good = one.segments[0]
    directory = good.parent
    (directory / "0000000002.segment").write_bytes(os.urandom(5_000))
    (directory / "0000000003.segment").write_bytes(b"")
    (directory / "0000000004.segment").symlink_to(good)
    (directory / "0000000005.segment").mkdir()
    with (directory / "0000000006.segment").open("wb") as file:
        file.truncate(64 * MIB)
    os.mkfifo(directory / "0000000007.segment")
    (directory / "notes.txt").write_text("not ours")

    async def script() -> None:
        console, two = Console(), Process(tmp_path, quota=128 * MIB)
        await two.backlog.open()
        two.put()
        await asyncio.wait_for(two.deliver(console), 10)
        assert console.taken == of(one, 1, 2, 3) + of(two, 1)
        assert "spool-damaged" in two.conditions
        # What is no file can't be removed as one; it is told, and left.
        assert [path.name for path in two.segments] == ["0000000005.segment"]
        assert "spool-failed" in two.conditions
        two.put()
        await two.backlog.keep_all()
        await two.deliver(console)
        assert console.taken[-1] == (two.incarnation, 2)

    asyncio.run(script())
    assert (directory / "notes.txt").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_loses_nothing_that_memory_holds(small_disk: Path) -> None:
    async def script() -> None:
        console, one = Console(), Process(small_disk, quota=16 * MIB)
        await one.backlog.open()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(200_000))
        for _ in range(40):
            one.put(1, padding=4_000)
            await one.backlog.keep_all()
        assert "No space left" in one.conditions["spool-failed"]
        assert len(one.outbox) > 20
        assert len(one.segments) == 1
        # Nothing is half written: every segment is good to its end.
        assert [decode(path.read_bytes()).problem for path in one.segments] == [""] * len(
            one.segments
        )
        filler.unlink()
        await one.backlog.keep_all()
        assert "spool-failed" not in one.conditions
        assert len(one.outbox) == 0
        await one.deliver(console)
        assert console.taken == of(one, *range(1, 41))
        assert console.announced == set()

    asyncio.run(script())


def test_a_read_only_directory_is_told_and_batches_go_from_memory(small_disk: Path) -> None:
    former = keep_some(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    async def script() -> None:
        console, one = Console(), Process(small_disk)
        await one.backlog.open()
        one.put(3)
        await one.backlog.keep_all()
        assert "Read-only" in one.conditions["spool-failed"]
        await one.deliver(console)
        assert console.taken == of(former, 1, 2, 3) + of(one, 1, 2, 3)

    asyncio.run(script())


steps = st.lists(
    st.sampled_from(["put", "put", "put", "keep", "deliver", "crash", "end"]),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_every_batch_is_taken_once_or_lost_in_a_crash(script: list[str]) -> None:
    async def play(place: Path) -> None:
        console = Console()
        process = Process(place)
        await process.backlog.open()
        safe: set[tuple[str, int]] = set()
        for step in script:
            if step == "put":
                process.put()
            elif step == "keep":
                await process.backlog.keep_all()
            elif step == "deliver":
                await process.deliver(console, 1)
            else:
                if step == "end":
                    await process.backlog.keep_all()
                made = of(process, *range(1, process.outbox.sequence()))
                waiting = {
                    (parcel.incarnation, parcel.sequence) for parcel in process.outbox.due(1.0)
                }
                safe |= set(made) - waiting
                process = Process(place)
                await process.backlog.open()
        await process.deliver(console)
        safe |= set(of(process, *range(1, process.outbox.sequence())))
        assert len(set(console.taken)) == len(console.taken)
        assert set(console.taken) >= safe
        assert process.segments == []

    with tempfile.TemporaryDirectory() as place:
        asyncio.run(play(Path(place)))
