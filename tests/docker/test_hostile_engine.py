"""Discovery against engines that answer nonsense: a health condition each time, never a crash."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cnnf.defender.discovery import limits
from tests.docker.follower import following

SOON_S = 3.0
ID = "ab" * 32

#: What a well-behaved engine with one container says, by path without the version.
GOOD: dict[str, bytes] = {
    "/version": json.dumps({"ApiVersion": "1.41"}).encode(),
    "/networks": b"[]",
    "/containers/json": json.dumps([{"Id": ID, "State": "running"}]).encode(),
    f"/containers/{ID}/json": json.dumps(
        {
            "Id": ID,
            "Name": "/web",
            "Image": "",
            "Config": {"Image": "shop/web:1", "Labels": None},
            "State": {"Status": "running", "Pid": 7, "StartedAt": "2026-01-01T00:00:00Z"},
            "NetworkSettings": {"Networks": {}, "Ports": None},
        }
    ).encode(),
    "/events": b"",
}

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def answering(answers: dict[str, bytes]) -> Answer:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        body = answers[path]
        if path == "/events":
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
            await writer.drain()
            await asyncio.sleep(60)
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


@asynccontextmanager
async def engine(answer: Answer) -> AsyncIterator[Path]:
    """A server on a Unix socket that reads one request a connection and answers as told."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            line = (await reader.readline()).decode()
            while (await reader.readline()).strip():
                pass
            path = line.split(" ")[1].partition("?")[0]
            if path.startswith("/v1."):
                path = "/" + path.split("/", 2)[2]
            await answer(path, writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            connections.discard(task)

    with tempfile.TemporaryDirectory(prefix="cnnf-test-") as place:
        path = Path(place) / "sock"
        server = await asyncio.start_unix_server(serve, path)
        try:
            yield path
        finally:
            server.close()
            for task in list(connections):
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            await server.wait_closed()


def condition_of(answer: Answer) -> tuple[str, str]:
    """The first condition that discovery reports about such an engine."""

    async def whole() -> tuple[str, str]:
        async with engine(answer) as path, following(path) as follower:
            await follower.until(lambda: follower.health.code, SOON_S)
            return follower.health.code, follower.health.message

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/version", b"<html>It works!</html>", "<html>"),
        ("/version", b'{"ApiVersion": "latest"}', "no API version"),
        ("/version", b'{"ApiVersion": 141}', "version"),
        ("/networks", b'[{"Id": "zz"', "networks"),
        ("/networks", b'[{"Id": "' + b"\x1b]0;x\x07" + b'", "Driver": "bridge"}]', "networks"),
        ("/containers/json", b'{"message": "no"}', "containers"),
        ("/containers/json", b"[" * 100_000, "containers"),
        (f"/containers/{ID}/json", b'{"Id": 1}', "container abababababab is left out"),
        (f"/containers/{ID}/json", GOOD[f"/containers/{ID}/json"][:-9], "left out"),
        ("/events", b"<p>\n" * limits.EVENTS_BAD_MAX, "event"),
    ],
)
def test_nonsense_is_a_condition_that_says_where(path: str, body: bytes, says: str) -> None:
    code, message = condition_of(answering(GOOD | {path: body}))
    assert code == "engine-bad-answer"
    assert says in message
    assert "\x1b" not in message
    assert len(message) < 1000


def test_an_engine_that_is_too_old_is_named_so() -> None:
    code, message = condition_of(answering(GOOD | {"/version": b'{"ApiVersion": "1.12"}'}))
    assert code == "engine-unsupported"
    assert "1.40 or later" in message


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    async def endless(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    code, message = condition_of(endless)
    assert code == "engine-bad-answer"
    assert str(limits.INSPECT_BYTES_MAX) in message


def test_a_silent_engine_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_TOTAL_S", 0.2)

    async def silent(path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    assert condition_of(silent)[0] == "engine-silent"


def test_hanging_up_and_no_http_are_conditions() -> None:
    async def hang_up(path: str, writer: asyncio.StreamWriter) -> None:
        return

    async def no_http(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    assert condition_of(hang_up)[0] == "engine-bad-answer"
    assert condition_of(no_http)[0] == "engine-bad-answer"


def test_a_socket_that_nobody_serves_is_refused() -> None:
    async def whole() -> str:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "sock"
            server = await asyncio.start_unix_server(lambda *_: None, path)
            server.close()
            await server.wait_closed()
            path.touch(exist_ok=True)
            async with following(path) as follower:
                await follower.until(lambda: follower.health.code, SOON_S)
                return follower.health.code

    assert asyncio.run(whole()) == "engine-refused"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_socket_without_permission_says_so() -> None:
    async def whole(follower_ready: list[str]) -> None:
        async with engine(answering(GOOD)) as path:
            path.chmod(0o600)
            path.parent.chmod(0o711)
            os.seteuid(65534)
            try:
                async with following(path) as follower:
                    await follower.until(lambda: follower.health.code, SOON_S)
                    follower_ready.append(follower.health.message)
            finally:
                os.seteuid(0)

    messages: list[str] = []
    asyncio.run(whole(messages))
    assert "no permission" in messages[0]


def test_a_good_engine_after_a_bad_start_clears_the_condition() -> None:
    answers = GOOD | {f"/containers/{ID}/json": b"{}"}

    async def whole() -> None:
        async with engine(answering(answers)) as path, following(path) as follower:
            await follower.until(lambda: follower.health.code, SOON_S)
            assert follower.containers == {}
            answers.update(GOOD)
            # The next connection lists everything anew.
            answers["/events"] = b"<p>\n" * limits.EVENTS_BAD_MAX
            await follower.until(lambda: follower.by_title("web"), 10)

    # The first stream has to end for that, as a lost socket would.
    answers["/events"] = b"<p>\n" * limits.EVENTS_BAD_MAX
    asyncio.run(whole())


def test_an_overlong_event_is_skipped_and_everything_listed_anew() -> None:
    long = b'{"Type": "' + b"x" * (limits.EVENT_BYTES_MAX + 1) + b'"}\n'
    well_behaved = answering(GOOD | {"/events": long})
    lists: list[bytes] = [b"[]"]

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/containers/json" and lists:
            await answering({path: lists.pop()})(path, writer)
        else:
            await well_behaved(path, writer)

    async def whole() -> None:
        async with engine(answer) as path, following(path) as follower:
            await follower.until(lambda: follower.by_title("web"), SOON_S)
            assert follower.health.code == ""

    asyncio.run(whole())
