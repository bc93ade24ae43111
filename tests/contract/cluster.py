"""A cluster's API as far as a node's agent meets it: real HTTPS, lists in pages, real watches.

It behaves as the API's concepts are documented, and refuses what the real one refuses: a request
without its token (401), what the account may not (403), a version it has forgotten (410, as the
status or within the stream). Faults are switched on by hand.
"""

import asyncio
import copy
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cnnf.console.authority import Authority

Object = dict[str, Any]
PODS, SERVICES = "/api/v1/pods", "/api/v1/services"


class Cluster:
    """Objects by the folder they are listed in, every change of them, and who watches."""

    def __init__(self, directory: Path, token: str = "first") -> None:
        self._authority = Authority(directory)
        self.token = token
        self.account = directory / "account"
        self.account.mkdir(parents=True)
        (self.account / "ca.crt").write_text(self._authority.pem)
        self.give(token)
        self.forbidden: set[str] = set()
        self.single: dict[str, Object] = {}
        self.objects: dict[str, dict[str, Object]] = {PODS: {}, SERVICES: {}}
        self.version = 1000
        #: Every change: version, folder, type, object. What lies before `oldest` is forgotten.
        self._changes: list[tuple[int, str, str, Object]] = []
        self.oldest = 1000
        self.gone_as_status = False
        self.expire_pages = 0
        self.silent = False
        self.answer: bytes | None = None
        #: Every request: path and query; those that were refused as well.
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._watching: dict[asyncio.Queue[bytes | None], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def give(self, token: str) -> None:
        """Put a token where the pod's account is."""
        (self.account / "token").write_text(token + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """What a pod in this cluster has in its environment."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watching)

    def asked(self, path: str) -> list[dict[str, str]]:
        """The queries of all requests for a path."""
        return [query for asked, query in self.requests if asked == path]

    # --- what happens in the cluster

    def put(self, folder: str, thing: Object) -> None:
        """Make or change an object; those who watch are told."""
        thing = copy.deepcopy(thing)
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        name = thing["metadata"]["name"]
        kind = "MODIFIED" if name in self.objects[folder] else "ADDED"
        self.objects[folder][name] = thing
        self._happened(folder, kind, thing)

    def delete(self, folder: str, name: str) -> None:
        """Remove an object; those who watch are told."""
        thing = self.objects[folder].pop(name)
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        self._happened(folder, "DELETED", thing)

    def bookmark(self) -> None:
        """Other kinds of objects have changed: the version is another."""
        self.version += 50
        for queue, folder in self._watching.items():
            kind = {PODS: "Pod", SERVICES: "Service"}[folder]
            thing = {"kind": kind, "metadata": {"resourceVersion": str(self.version)}}
            queue.put_nowait(_line("BOOKMARK", thing))

    def forget(self) -> None:
        """Compact: changes so far can't be watched from any more."""
        self.oldest = self.version

    def say(self, line: bytes) -> None:
        """Send something to all who watch, whatever it is."""
        for queue in self._watching:
            queue.put_nowait(line)

    def cut(self) -> None:
        """Lose the connections of all who watch, in the middle of a line."""
        for queue in self._watching:
            queue.put_nowait(b'{"type":"MODIF')
            queue.put_nowait(None)

    def _happened(self, folder: str, kind: str, thing: Object) -> None:
        self._changes.append((self.version, folder, kind, thing))
        for queue, watched in self._watching.items():
            if watched == folder:
                queue.put_nowait(_line(kind, thing))

    # --- the server

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Cluster"]:
        """Answer on a port of loopback until the block ends."""
        certificate, key = self._authority.server(["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=context, ssl_shutdown_timeout=0.1
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the cluster has
        finally:
            self._tasks.discard(task)
            with suppress(OSError):
                writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        target = urlsplit(request.split(" ")[1])
        query = {key: values[0] for key, values in parse_qs(target.query).items()}
        self.requests.append((target.path, query))
        if self.silent:
            await asyncio.sleep(3600)
        if headers.get("authorization") != f"bearer {self.token}".lower():
            return await _status(writer, 401, "Unauthorized")
        if any(target.path.startswith(path) for path in self.forbidden):
            return await _status(writer, 403, "Forbidden")
        if self.answer is not None:
            return await _body(writer, 200, self.answer)
        if target.path in self.single:
            return await _body(writer, 200, json.dumps(self.single[target.path]).encode())
        if target.path not in self.objects:
            return await _status(writer, 404, "NotFound")
        if query.get("watch") == "1":
            return await self._watch(writer, target.path, query)
        return await self._list(writer, target.path, query)

    async def _list(self, writer: asyncio.StreamWriter, folder: str, query: dict[str, str]) -> bool:
        found = [self.objects[folder][name] for name in sorted(self.objects[folder])]
        selector = query.get("fieldSelector", "")
        if selector:
            node = selector.removeprefix("spec.nodeName=")
            found = [one for one in found if one["spec"]["nodeName"] == node]
        begin = int(query.get("continue", "0"))
        if begin and self.expire_pages:
            self.expire_pages -= 1
            return await _status(writer, 410, "Expired")
        end = begin + int(query.get("limit", "500"))
        meta: Object = {"resourceVersion": str(self.version)}
        if end < len(found):
            meta["continue"] = str(end)
        answer = {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": found[begin:end]}
        return await _body(writer, 200, json.dumps(answer).encode())

    async def _watch(
        self, writer: asyncio.StreamWriter, folder: str, query: dict[str, str]
    ) -> bool:
        since = int(query["resourceVersion"])
        if since < self.oldest and self.gone_as_status:
            return await _status(writer, 410, "Expired")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        if since < self.oldest:
            queue.put_nowait(_line("ERROR", status(410, f"too old resource version: {since}")))
            queue.put_nowait(b"")
        for version, changed, kind, thing in self._changes:
            if version > since and changed == folder:
                queue.put_nowait(_line(kind, thing))
        self._watching[queue] = folder
        try:
            while (line := await queue.get()) is not None:
                writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await writer.drain()
                if not line:
                    return True
        finally:
            del self._watching[queue]
        return False


def status(code: int, message: str) -> Object:
    """A `Status`, as refusals are written."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "Expired" if code == 410 else "", "code": code,
    }  # fmt: skip


async def _status(writer: asyncio.StreamWriter, code: int, message: str) -> bool:
    return await _body(writer, code, json.dumps(status(code, message)).encode())


async def _body(writer: asyncio.StreamWriter, code: int, body: bytes) -> bool:
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (code, len(body)) + body)
    await writer.drain()
    return True


def _line(kind: str, thing: Object) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"
