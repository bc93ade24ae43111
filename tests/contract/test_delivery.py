"""Batches from the disk to a real Console over real TLS: each once, none in the way for ever."""

import asyncio
import os
from pathlib import Path

import pytest

from cnnf.cli.client import Client
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.core.spool import Record, encode_head, encode_record
from cnnf.defender.link.backlog import Backlog
from cnnf.defender.link.credentials import Identity, tls
from cnnf.defender.link.joining import join
from cnnf.defender.link.spool import SpoolFiles
from cnnf.defender.link.uplink import Uplink
from cnnf.protocol.codec import encode_batch
from cnnf.protocol.messages import Batch, Flow, Instance
from tests.contract.test_defender_listener import edges, pair, some_flow

FORMER, OTHER = "1" * 32, "2" * 32


class Way:
    """What a process has between its batches and the Console."""

    def __init__(self, identity: Identity, place: Path) -> None:
        self.identity, self.place = identity, place
        self.problems: list[str] = []
        self.outbox = Outbox(os.urandom(16).hex(), batches_max=100, bytes_max=2**20)
        self.directory = place / identity.defender
        self.backlog = Backlog(
            self.outbox,
            SpoolFiles(place, identity.defender),
            2**20,
            happened=lambda code, _: self.problems.append(code),
            raise_=lambda code, _: self.problems.append(code),
            clear=lambda _: None,
        )
        self.uplink = Uplink(
            identity.url,
            tls(identity),
            self.outbox,
            self.backlog,
            on_open=lambda: None,
            on_settings=lambda _: None,
            on_event=lambda *_: None,
            on_refused=lambda _: self.problems.append("batch-refused"),
        )

    def leave(self, incarnation: str, *batches: Batch, first: int = 1) -> None:
        """What a former process has left: these batches, under this name."""
        self.directory.mkdir(parents=True, exist_ok=True)
        records = [
            Record(number, batch.sent_at, len(batch.flows), encode_batch(batch))
            for number, batch in enumerate(batches, first)
        ]
        number = len(list(self.directory.iterdir())) + 1
        path = self.directory / f"{number:010}.segment"
        path.write_bytes(encode_head(incarnation) + b"".join(map(encode_record, records)))

    async def deliver(self) -> bool:
        """Send everything; False when that does not end."""
        await self.backlog.open()
        sending = asyncio.create_task(self.uplink.send_for_ever())
        try:
            return await self.uplink.drained(20)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def batch(incarnation: str, number: int, *flows: Flow, instances: list[Instance]) -> Batch:
    """One that a process has made."""
    return Batch(
        incarnation=incarnation,
        sequence=number,
        sent_at=1_000 + number,
        snapshot=bool(instances),
        instances=instances,
        flows=list(flows),
    )


@pytest.fixture
def way(api: Client, tmp_path: Path) -> Way:
    """Of a host that has just joined."""
    identity = join(api.url, api.post("/defenders/tokens")["token"], "delivering")
    return Way(identity, tmp_path)


def test_what_is_on_disk_is_counted_once_whoever_sends_it_again(api: Client, way: Way) -> None:
    left = [batch(FORMER, 1, some_flow(2), instances=pair("left"))]
    left += [batch(FORMER, number, some_flow(1), instances=[]) for number in range(2, 9)]
    way.leave(FORMER, *left)
    segment = next(way.directory.iterdir()).read_bytes()
    assert asyncio.run(way.deliver())
    assert edges(api, "left") == {("left/front", "left/back", 80): 9}
    assert list(way.directory.iterdir()) == []
    # The disk was put back to before, as a crash between two acknowledgements does.
    (way.directory / "0000000001.segment").write_bytes(segment)
    assert asyncio.run(Way(way.identity, way.place).deliver())
    assert edges(api, "left") == {("left/front", "left/back", 80): 9}
    assert way.problems == []


def test_a_batch_that_is_not_what_it_is_kept_as_is_not_sent_for_ever(api: Client, way: Way) -> None:
    odd = batch(OTHER, 1, some_flow(4), instances=pair("odd"))
    good = batch(FORMER, 2, some_flow(3), instances=pair("odd"))
    way.leave(FORMER, odd, good)
    assert asyncio.run(way.deliver())
    assert "batch-refused" in way.problems
    assert edges(api, "odd") == {("odd/front", "odd/back", 80): 7}


def test_what_the_console_never_takes_is_announced_and_passed_by(api: Client, way: Way) -> None:
    way.leave(FORMER, batch(FORMER, 1, some_flow(1), instances=pair("never")))
    hopeless = batch(FORMER, 2, some_flow(1, port=99_999), instances=[])
    way.leave(FORMER, hopeless, first=2)
    way.leave(FORMER, batch(FORMER, 3, some_flow(1), instances=[]), first=3)
    assert asyncio.run(way.deliver())
    assert way.problems == ["batch-refused"]
    assert edges(api, "never") == {("never/front", "never/back", 80): 2}


def test_a_new_console_is_told_what_it_never_had(api: Client, way: Way) -> None:
    way.leave(FORMER, batch(FORMER, 7, some_flow(5), instances=pair("late")), first=7)
    assert asyncio.run(way.deliver())
    assert edges(api, "late") == {("late/front", "late/back", 80): 5}
