"""Getting to know ends elsewhere, against a directory over real HTTPS and a real file."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cnnf.console.authority import Authority
from cnnf.defender.acquaintances import Acquaintances
from cnnf.defender.core.attribution import Sighting
from cnnf.defender.core.limits import QUESTION_ENDS_MAX
from cnnf.defender.core.peers import Change, Peers
from cnnf.defender.link.directory import Directory, PeersFile
from cnnf.defender.link.errors import DirectoryUnreachable
from cnnf.protocol import limits
from cnnf.protocol.messages import Answer, Answers, Known, Question, Sought, Stale

HERE = bytes([10, 0, 0, 1])
CART = Known(kind="container", name="shop/cart", tag="1", host="h2")
OTHER = Known(kind="service", name="nginx", host="h3")


def seen(source: bytes) -> Sighting:
    """A connection from there to here."""
    return Sighting(source=source, destination=HERE, port=80, first_seen=1, last_seen=1)


class Console:
    """A directory: everybody it is asked for is the cart, until somebody else is put there."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        served = authority.server_context(["localhost"], defenders=False)
        self.trusting = ssl.create_default_context(cadata=authority.pem)
        self.asked: list[list[Sought]] = []
        self.generation = 1
        self.there: dict[str, Known] = {}
        self.public: list[str] = []
        #: Instead of answers.
        self.says: tuple[int, bytes] | None = None
        self.before_answer: Callable[[], object] = lambda: None
        self.refuses: Callable[[list[Sought]], tuple[int, bytes] | None] = lambda _: None
        console = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/defender/v1/directory"
                question = msgspec.json.decode(body, type=Question)
                refusal = console.says or console.refuses(question.sought)
                status, content = refusal or (200, console.answer(question))
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = served.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, question: Question) -> bytes:
        """The answers to a question, true as of before."""
        self.asked.append(question.sought)
        generation = self.generation
        answers = [
            Answer(
                address=one.address,
                port=one.port,
                protocol=one.protocol,
                candidates=[self.there.get(one.address, CART)],
            )
            for one in question.sought
        ]
        self.before_answer()
        return msgspec.json.encode(
            Answers(generation=generation, answers=answers, public=self.public)
        )

    def end(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Defender:
    """Somebody who asks, and what he was told."""

    def __init__(self, console: Console, folder: Path, owner: str = "me") -> None:
        self.peers = Peers()
        self.changes: list[Change] = []
        self.moves = 0
        self.troubles: list[str] = []
        self.directory = Directory(console.url, console.trusting)
        self.asking = Acquaintances(
            self.peers,
            self.directory,
            PeersFile(folder),
            owner=owner,
            is_own=HERE.__eq__,
            changed=self.changes.extend,
            moved=self._moved,
            trouble=self.troubles.append,
        )

    def _moved(self) -> None:
        self.moves += 1

    def meet(self, *last: int) -> None:
        """Connections from there to here."""
        for one in last:
            self.asking.met(seen(bytes([10, 1, *one.to_bytes(2)])))

    async def until(self, holds: Callable[[], object]) -> None:
        """Ask until it holds."""
        task = asyncio.create_task(self.asking.ask_for_ever())
        try:
            async with asyncio.timeout(10):
                while not holds():
                    assert not task.done(), task.result()
                    await asyncio.sleep(0.005)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def play(self, script: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run a script to its end."""

        async def played() -> None:
            try:
                await script()
            finally:
                await self.directory.close()

        asyncio.run(played())

    def names(self) -> set[str]:
        """Everybody known."""
        crowds = self.peers.crowds().values()
        return {who.name for crowd in crowds for who in crowd.identities}


@pytest.fixture
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A Console that is there."""
    made = Console(tmp_path_factory.mktemp("console"))
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def known(console: Console, tmp_path: Path) -> Defender:
    """Somebody who knows nobody."""
    return Defender(console, tmp_path)


def test_what_is_met_within_a_moment_goes_in_one_question(
    console: Console, known: Defender
) -> None:
    known.meet(*range(1, 101), 1, 2)
    # Our own address is nobody's to ask for.
    known.play(lambda: known.until(lambda: len(known.peers) == 100))
    assert [len(one) for one in console.asked] == [100]
    assert len(known.changes) == 100
    assert known.names() == {"shop/cart"}
    known.meet(*range(1, 101))
    assert not known.peers.wants


def test_more_than_a_question_takes_goes_in_several(console: Console, known: Defender) -> None:
    count = 2 * QUESTION_ENDS_MAX + 7
    known.asking.sought([(bytes([10, 2, *number.to_bytes(2)]), 80, 6) for number in range(count)])
    known.play(lambda: known.until(lambda: len(known.peers) == count))
    assert [len(one) for one in console.asked] == [QUESTION_ENDS_MAX, QUESTION_ENDS_MAX, 7]
    assert len({one.address for asked in console.asked for one in asked}) == count


def test_while_the_console_is_away_what_is_known_stays(console: Console, known: Defender) -> None:
    async def script() -> None:
        known.meet(1)
        await known.until(lambda: len(known.peers) == 1)
        console.says = (503, b'{"error": {"message": "not now"}}')
        known.meet(2)
        await known.until(lambda: known.troubles and known.troubles[-1])
        assert "1 ends elsewhere" in known.troubles[-1]
        assert "503 not now" in known.troubles[-1]
        assert known.names() == {"shop/cart"}
        console.says = None
        await known.until(lambda: len(known.peers) == 2)
        await known.until(lambda: not known.troubles[-1])

    known.play(script)


def test_what_is_stale_is_asked_again(console: Console, known: Defender) -> None:
    async def script() -> None:
        known.meet(1, 2)
        await known.until(lambda: len(known.peers) == 2)
        console.there["10.1.0.1"], console.generation = OTHER, 2
        known.asking.take("settings", "{}")
        data = msgspec.json.encode(Stale(generation=2, addresses=["10.1.0.1"])).decode()
        known.asking.take("stale", data)
        assert len(known.peers) == 1
        await known.until(lambda: len(known.peers) == 2)
        assert known.names() == {"shop/cart", "nginx"}
        # What can't be read may mean anything: all of it is asked again.
        console.there["10.1.0.2"] = OTHER
        known.asking.take("stale", "what?")
        assert len(known.peers) == 2
        await known.until(lambda: known.names() == {"nginx"})

    known.play(script)


def test_an_answer_that_became_stale_on_its_way_is_not_taken(
    console: Console, known: Defender
) -> None:
    async def script() -> None:
        running = asyncio.get_running_loop()
        told = threading.Event()

        def overtake() -> None:
            console.there["10.1.0.1"], console.generation = OTHER, 2
            console.before_answer = lambda: None
            stale = msgspec.json.encode(Stale(generation=2, addresses=["10.1.0.1"])).decode()
            running.call_soon_threadsafe(known.asking.take, "stale", stale)
            running.call_soon_threadsafe(told.set)
            told.wait(5)

        console.before_answer = overtake
        known.meet(1)
        await known.until(lambda: len(known.peers) == 1)
        assert [change.after.identities[0].name for change in known.changes if change.after] == [
            "nginx"
        ]

    known.play(script)


@pytest.mark.parametrize(
    "says",
    [
        (404, b""),
        (200, b""),
        (200, b"[]"),
        (200, b'{"generation": -1}'),
        (200, b'{"generation": 1, "public": ["x"]}'),
        (200, b'{"generation": 1, "answers": [{"address": "here"}]}'),
        (200, b'{"generation": 1, "answers": [{"address": "10.0.0.2", "port": 70000}]}'),
        (200, b'{"generation": 1, "answers": [{"address": "10.0.0.2", "candidates": [{}]}]}'),
        (200, b" " * (limits.ANSWERS_BYTES_MAX + 1)),
        (302, b""),
    ],
)
def test_what_is_no_answer_is_refused(
    console: Console, known: Defender, says: tuple[int, bytes]
) -> None:
    console.says = says

    async def ask() -> None:
        with pytest.raises(DirectoryUnreachable):
            await known.directory.ask(Question(sought=[Sought(address="10.0.0.2")]))

    known.play(ask)


def test_one_that_the_console_takes_for_ours_does_not_keep_others_unnamed(
    console: Console, known: Defender
) -> None:
    def refuse(sought: list[Sought]) -> tuple[int, bytes] | None:
        ours = any(one.address == "10.1.0.7" for one in sought)
        return (
            (422, b'{"error": {"message": "10.1.0.7 is on this Defender\'s own host"}}')
            if (ours)
            else None
        )

    console.refuses = refuse
    known.meet(*range(1, 33))
    known.play(lambda: known.until(lambda: len(known.peers) == 32))
    nobody = [place for place, crowd in known.peers.crowds().items() if not crowd.identities]
    assert nobody == [(bytes([10, 1, 0, 7]), 0, 0)]


def test_others_on_the_internet_are_asked_for_once_the_console_says_so(
    console: Console, known: Defender
) -> None:
    async def script() -> None:
        address = bytes([203, 0, 113, 7])
        known.asking.met(seen(address))
        assert not known.peers.wants
        console.public = ["203.0.113.7/32"]
        known.meet(1)
        await known.until(lambda: known.moves == 1)
        known.asking.met(seen(address))
        await known.until(lambda: (address, 0, 0) in known.peers.crowds())

    known.play(script)


# --- on disk


def test_what_was_known_is_known_without_the_console(console: Console, tmp_path: Path) -> None:
    first = Defender(console, tmp_path)

    async def before() -> None:
        first.meet(1, 2)
        await first.until(lambda: len(first.peers) == 2)
        await first.asking.save()

    first.play(before)
    assert (tmp_path / "peers").stat().st_mode & 0o777 == 0o600
    again = Defender(console, tmp_path)
    again.asking.restore()
    assert again.names() == {"shop/cart"}
    assert len(again.peers) == 2
    # And asked again, since nobody told what became stale meanwhile.
    console.there["10.1.0.2"] = OTHER
    again.play(lambda: again.until(lambda: again.names() == {"shop/cart", "nginx"}))
    assert [len(one) for one in console.asked] == [2, 2]


@pytest.mark.parametrize("owner", ["me", "another"])
def test_a_file_that_is_damaged_or_of_another_is_not_taken(
    console: Console, tmp_path: Path, owner: str
) -> None:
    first = Defender(console, tmp_path)

    async def before() -> None:
        first.meet(1)
        await first.until(lambda: len(first.peers) == 1)
        await first.asking.save()

    first.play(before)
    file = tmp_path / "peers"
    if owner == "me":
        file.write_bytes(file.read_bytes()[:-1])
    again = Defender(console, tmp_path, owner)
    again.asking.restore()
    assert len(again.peers) == 0
    assert not again.peers.wants


@pytest.mark.parametrize("content", [b"", b"x" * 1_000, None])
def test_no_file_makes_it_fail(console: Console, tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        (tmp_path / "peers").mkdir()
    else:
        (tmp_path / "peers").write_bytes(content)
    known = Defender(console, tmp_path)
    known.asking.restore()
    assert len(known.peers) == 0
