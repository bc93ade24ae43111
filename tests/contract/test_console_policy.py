"""The Console's policy on a host, over real HTTPS and with a real file: taken whole, or not at all.

Only what puts it in force is made up; the kernel's part is in tests/kernel.
"""

import asyncio
import gzip
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cnnf.console.authority import Authority
from cnnf.defender import console_policy
from cnnf.defender.console_policy import ConsolePolicy
from cnnf.defender.core.kept_policy import UnreadableKeptPolicyError
from cnnf.defender.core.limits import POLICY_JITTER_SECONDS
from cnnf.defender.link.credentials import Credentials
from cnnf.defender.link.policy import KeptPolicy, PolicyFetch
from cnnf.defender.policies import Policies
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.form import parse_policy
from cnnf.protocol import limits
from cnnf.protocol.codec import encode_json
from cnnf.protocol.messages import PolicyDocument, PolicyNews, PolicyState

TEXT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: shop, type: image, values: ["shop/*"]}
rules:
  containers:
    - {name: NAME, destination: [shop], effect: prevent}
"""
DAY_MS = 86_400_000


def document(generation: int, name: str = "", text: str = TEXT) -> PolicyDocument:
    """A generation whose one rule is called so, or by its number."""
    text = text.replace("NAME", name or f"r{generation}")
    digest = compile_policy(parse_policy(text, subject="test")).digest
    return PolicyDocument(generation=generation, digest=digest, text=text)


class Console:
    """It has a policy and gives it, or says something else."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        served = authority.server_context(["localhost"], defenders=False)
        self.trusting = ssl.create_default_context(cadata=authority.pem)
        self.document = document(1)
        self.asked = 0
        #: Instead of the policy: status, body, encoding.
        self.says: tuple[int, bytes, str] | None = None
        self.before_answer: Callable[[], object] = lambda: None
        console = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == "/defender/v1/policy"
                console.asked += 1
                said = console.says or (200, encode_json(console.document), "")
                console.before_answer()
                status, body, encoding = said
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                if encoding:
                    self.send_header("content-encoding", encoding)
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = served.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def news(self) -> PolicyNews:
        """What the stream says."""
        return PolicyNews(generation=self.document.generation, digest=self.document.digest)

    def end(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Host:
    """A Defender's part, as the daemon has it."""

    def __init__(self, console: Console, directory: Path, owner: str = "this") -> None:
        self.clock_ms = 0
        self.states: list[PolicyState] = [PolicyState()]
        self.conditions: dict[str, str] = {}
        #: The names of the rules in force, each time that they were put there.
        self.applied: list[list[str]] = []
        self.fails: Exception | None = None
        self.fetch = PolicyFetch(console.url, console.trusting)
        self.kept = KeptPolicy(Credentials(directory), owner)
        self.path = directory / "policy"
        self.policy = ConsolePolicy(
            self.fetch.fetch,
            self.kept,
            tell=self.states.append,
            raise_=self.conditions.__setitem__,
            clear=lambda code: self.conditions.pop(code, None),
            now_ms=lambda: self.clock_ms,
        )

    @property
    def state(self) -> PolicyState:
        """What the Console was told last."""
        return self.states[-1]

    def start(self) -> None:
        """Put in force what is kept."""
        compiled = self.policy.restore()
        if compiled is not None:
            self.applied.append([rule.name for rule in compiled.rules])

    async def apply(self, compiled: Compiled) -> None:
        """What the daemon does."""
        if self.fails is not None:
            raise self.fails
        self.applied.append([rule.name for rule in compiled.rules])

    async def until(self, holds: Callable[[], object]) -> None:
        """Follow until it holds; what fails is tried again, as the daemon does."""

        async def follow() -> None:
            while True:
                with suppress(OSError):
                    await self.policy.follow(self.apply)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(follow())
        try:
            async with asyncio.timeout(10):
                while not holds():
                    assert not task.done(), task.result()
                    await asyncio.sleep(0.005)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settled(self, console: Console) -> None:
        """What the Console has is in force and on disk."""
        wanted = PolicyState(generation=console.document.generation, digest=console.document.digest)
        await self.until(
            lambda: (
                self.state == wanted
                and self._on_disk() == wanted.generation
                and not self.conditions
            )
        )

    def _on_disk(self) -> int:
        with suppress(UnreadableKeptPolicyError, OSError):
            kept = self.kept.read()
            return kept.generation if kept is not None else 0
        return 0

    async def rest(self) -> None:
        """Follow for a while, in which nothing ought to happen."""
        deadline = time.monotonic() + 0.1
        await self.until(lambda: time.monotonic() > deadline)

    def play(self, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a script to its end."""

        asyncio.run(script())


@pytest.fixture
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A Console that is there."""
    made = Console(tmp_path_factory.mktemp("console"))
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def host(console: Console, tmp_path: Path) -> Host:
    """A Defender that has nothing yet, whose stream has begun."""
    made = Host(console, tmp_path)
    made.start()
    made.policy.opened()
    return made


def test_what_is_told_is_in_force_and_on_disk_within_a_second(console: Console, host: Host) -> None:
    async def script() -> None:
        for generation in (1, 2, 3):
            console.document = document(generation)
            began = time.monotonic()
            host.policy.told(console.news)
            await host.settled(console)
            assert time.monotonic() - began < 1
        assert host.applied == [["r1"], ["r2"], ["r3"]]
        assert console.asked == 3

    host.play(script)


def test_the_next_process_enforces_it_before_the_console_says_a_word(
    console: Console, host: Host
) -> None:
    async def script() -> None:
        host.policy.told(console.news)
        await host.settled(console)

    host.play(script)
    assert host.path.stat().st_mode & 0o777 == 0o600
    after = Host(console, host.path.parent)
    after.start()
    assert after.applied == [["r1"]]
    assert after.state == PolicyState(generation=1, digest=console.document.digest)

    async def again() -> None:
        after.policy.opened()
        after.policy.told(console.news)
        await after.rest()
        assert console.asked == 1

    after.play(again)


def test_what_means_the_same_is_not_fetched(console: Console, host: Host) -> None:
    async def script() -> None:
        host.policy.told(console.news)
        await host.settled(console)
        console.document = document(2, "r1")
        host.policy.told(console.news)
        await host.settled(console)
        assert host.applied == [["r1"]]
        assert console.asked == 1

    host.play(script)


def test_a_console_from_a_backup_is_followed_back(console: Console, host: Host) -> None:
    async def script() -> None:
        console.document = document(9)
        host.policy.told(console.news)
        await host.settled(console)
        console.document = document(4)
        # Not within one stream.
        host.policy.told(console.news)
        assert host.state.generation == 9
        host.policy.opened()
        host.policy.told(console.news)
        await host.settled(console)
        assert host.applied == [["r9"], ["r4"]]

    host.play(script)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (PolicyDocument(generation=2, digest="d", text="rules: 5"), "generation 2:1:"),
        (PolicyDocument(generation=2, digest="d", text=""), "generation 2:1:1"),
        (PolicyDocument(generation=2, digest="d", text=TEXT), "it means something else here"),
    ],
)
def test_what_can_not_be_taken_leaves_the_last_good_one(
    console: Console, host: Host, given: PolicyDocument, says: str
) -> None:
    async def script() -> None:
        host.policy.told(console.news)
        await host.settled(console)
        console.document = given
        host.policy.told(console.news)
        await host.until(lambda: host.conditions)
        assert says in host.conditions["policy-refused"]
        assert "generation 1 stays in force" in host.conditions["policy-refused"]
        assert (host.state.generation, host.state.refused_generation) == (1, 2)
        assert says in host.state.refused
        # It is not asked for again and again.
        await host.rest()
        assert console.asked == 2
        assert host.applied == [["r1"]]
        kept = host.kept.read()
        assert kept is not None
        assert kept.generation == 1
        # The next one is taken.
        console.document = document(3)
        host.policy.told(console.news)
        await host.settled(console)

    host.play(script)


def test_one_that_is_not_what_was_told_is_refused(console: Console, host: Host) -> None:
    async def script() -> None:
        host.policy.told(PolicyNews(generation=1, digest="told"))
        await host.until(lambda: host.conditions)
        assert "told of digest 'told'" in host.conditions["policy-refused"]
        assert "no rule is in force" in host.conditions["policy-refused"]
        assert host.applied == []

    host.play(script)


BIG = gzip.compress(bytes(limits.POLICY_BYTES_MAX + 1), 1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((503, b'{"error": {"message": "not now"}}', ""), "503 not now"),
        ((404, b"", ""), "404"),
        ((200, b"<html>", ""), "PolicyDocument"),
        ((200, b'{"generation": 0, "digest": "d", "text": ""}', ""), "out of range"),
        ((200, b"no gzip", "gzip"), "decod|decompress"),
        ((200, BIG, "gzip"), "more than"),
        ((500, bytes(1_000_000), ""), "500, and more than"),
    ],
)
def test_what_goes_wrong_on_the_way_is_told_and_tried_again(
    console: Console, host: Host, answer: tuple[int, bytes, str], says: str
) -> None:
    async def script() -> None:
        console.says = answer
        host.policy.told(console.news)
        await host.until(lambda: console.asked >= 2 and host.conditions)
        (text,) = host.conditions.values()
        assert list(host.conditions) == ["policy-unreachable"]
        assert any(part in text for part in says.split("|")), text
        assert host.state.refused_generation == 1
        console.says = None
        await host.settled(console)

    host.play(script)


def test_a_word_meanwhile_ends_the_wait(
    console: Console, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_policy, "POLICY_RETRY_FIRST_SECONDS", 30.0)
    host.policy._wait = 30.0

    async def script() -> None:
        console.says = (503, b"", "")
        host.policy.told(console.news)
        await host.until(lambda: host.conditions)
        console.says = None
        console.document = document(2)
        host.policy.told(console.news)
        await host.settled(console)

    host.play(script)


def test_one_that_is_older_than_told_is_asked_for_again(console: Console, host: Host) -> None:
    async def script() -> None:
        host.policy.told(document_news(3))
        await host.until(lambda: console.asked >= 2)
        assert "given 1" in host.state.refused
        assert host.applied == []
        console.document = document(3)
        await host.settled(console)

    host.play(script)


def document_news(generation: int) -> PolicyNews:
    """What the stream says of a generation."""
    return PolicyNews(generation=generation, digest=document(generation).digest)


def test_one_that_is_newer_than_told_is_taken(console: Console, host: Host) -> None:
    async def script() -> None:
        console.document = document(3)
        host.policy.told(document_news(2))
        await host.settled(console)
        host.policy.told(document_news(3))
        await host.rest()
        assert (console.asked, host.applied) == (1, [["r3"]])

    host.play(script)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_it_comes_compressed(console: Console, host: Host, encoding: str) -> None:
    async def script() -> None:
        body = encode_json(console.document)
        packed = gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)
        console.says = (200, packed, encoding)
        host.policy.told(console.news)
        await host.settled(console)

    host.play(script)


def test_what_the_kernel_refuses_is_told_and_tried_again_without_fetching(
    console: Console, host: Host
) -> None:
    async def script() -> None:
        host.fails = OSError("no memory")
        host.policy.told(console.news)
        await host.until(lambda: host.state.refused)
        assert host.state.refused == "not in force yet: no memory"
        assert host.state.generation == 0
        assert not host.path.exists()
        host.fails = None
        await host.settled(console)
        assert console.asked == 1

    host.play(script)


def test_rules_expire_and_the_generation_stays(console: Console, host: Host) -> None:
    async def script() -> None:
        console.document = document(1, text=TEXT.replace("prevent", "prevent, expires: 1970-01-02"))
        host.policy.told(console.news)
        await host.settled(console)
        host.clock_ms = DAY_MS
        await host.until(lambda: len(host.applied) == 2)
        assert host.applied == [["r1"], []]
        assert host.state.generation == 1

    host.play(script)
    # And it is not in force again after a start.
    after = Host(console, host.path.parent)
    after.clock_ms = DAY_MS
    after.start()
    assert after.applied == [[]]


@pytest.mark.parametrize("harm", ["cut", "flipped", "emptied", "grown", "a directory"])
def test_a_damaged_file_is_a_condition_until_the_console_tells(
    console: Console, host: Host, harm: str
) -> None:
    async def script() -> None:
        host.policy.told(console.news)
        await host.settled(console)

    host.play(script)
    whole = host.path.read_bytes()
    if harm == "a directory":
        host.path.unlink()
        host.path.mkdir()
    else:
        middle = len(whole) // 2
        host.path.write_bytes(
            {
                "cut": whole[:middle],
                "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
                "emptied": b"",
                "grown": whole + b" ",
            }[harm]
        )
    after = Host(console, host.path.parent)
    after.start()
    assert after.applied == []
    assert "kept on disk can't be used" in after.conditions["policy-refused"]
    assert after.state == PolicyState()

    async def mend() -> None:
        after.policy.opened()
        after.policy.told(console.news)
        if harm == "a directory":
            await after.until(lambda: "policy-unkept" in after.conditions)
            assert after.applied == [["r1"]]
        else:
            await after.settled(console)

    after.play(mend)


def test_another_consoles_policy_is_none_of_ours(console: Console, host: Host) -> None:
    async def script() -> None:
        host.policy.told(console.news)
        await host.settled(console)

    host.play(script)
    after = Host(console, host.path.parent, owner="another")
    after.start()
    assert (after.applied, after.conditions) == ([], {})


def test_a_disk_that_fails_is_told_and_tried_again(
    console: Console, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_policy, "POLICY_KEEP_SECONDS", 0.05)

    async def script() -> None:
        # Nothing can be put there: a directory stands in the new file's place.
        (host.path.parent / "policy.new").mkdir()
        host.policy.told(console.news)
        await host.until(lambda: "policy-unkept" in host.conditions)
        assert host.applied == [["r1"]]
        assert host.state == PolicyState(generation=1, digest=console.document.digest)
        (host.path.parent / "policy.new").rmdir()
        await host.settled(console)

    host.play(script)


def test_what_was_missed_is_not_fetched_by_all_at_one_moment(
    console: Console, tmp_path: Path
) -> None:
    """Hosts that come back together: each waits for a moment of its own, at a change none does."""
    moments = []
    for number in range(200):
        host = Host(console, tmp_path / str(number))
        host.policy.opened()
        host.policy.told(document_news(1))
        first = host.policy._fetch_at - time.monotonic()
        host.policy.opened()
        host.policy.told(document_news(2))
        moments.append(host.policy._fetch_at - time.monotonic())
        host.policy.told(document_news(3))
        assert host.policy._fetch_at <= time.monotonic()
        assert first <= 0
    assert max(moments) <= POLICY_JITTER_SECONDS
    in_half = sum(moment > POLICY_JITTER_SECONDS / 2 for moment in moments)
    assert 50 < in_half < 150


def test_a_local_file_takes_its_place(console: Console, tmp_path: Path) -> None:
    """Nothing is fetched, the Console is told what is in force and which of its own is not."""
    file = tmp_path / "local.yaml"
    file.write_text(TEXT.replace("NAME", "local"))
    states: list[PolicyState] = []
    conditions: dict[str, str] = {}
    applied: list[str] = []
    fetch = PolicyFetch(console.url, console.trusting)
    policies = Policies(
        file,
        fetch.fetch,
        KeptPolicy(Credentials(tmp_path), "this"),
        tell=states.append,
        raise_=conditions.__setitem__,
        clear=lambda code: conditions.pop(code, None),
    )
    compiled = policies.first()
    assert compiled is not None
    assert (states[-1].digest, states[-1].refused) == (compiled.digest, "")

    async def script() -> None:
        done = asyncio.Event()

        async def apply(compiled: Compiled) -> None:
            applied.extend(rule.name for rule in compiled.rules)
            done.set()

        policies.opened()
        policies.told("policy", encode_json(console.news).decode())
        assert str(file) in conditions["policy-local"]
        assert states[-1] == PolicyState(
            digest=compiled.digest,
            refused_generation=1,
            refused=f"a local file is in force: {file}",
        )
        following = asyncio.create_task(policies.follow(apply))
        file.write_text(TEXT.replace("NAME", "other"))
        policies.look()
        async with asyncio.timeout(10):
            await done.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(script())
    assert applied == ["other"]
    assert states[-1].digest != compiled.digest
    assert (console.asked, (tmp_path / "policy").exists()) == (0, False)


@pytest.mark.parametrize("data", ["", "{}", '{"generation": -1, "digest": "d"}', "[1]"])
def test_a_word_that_can_not_be_read_changes_nothing(
    console: Console, tmp_path: Path, data: str
) -> None:
    states: list[PolicyState] = []
    fetch = PolicyFetch(console.url, console.trusting)
    policies = Policies(
        None,
        fetch.fetch,
        KeptPolicy(Credentials(tmp_path), "this"),
        tell=states.append,
        raise_=lambda *_: None,
        clear=lambda _: None,
    )
    policies.opened()
    policies.told("policy", data)
    policies.told("stale", encode_json(console.news).decode())
    assert states == []
