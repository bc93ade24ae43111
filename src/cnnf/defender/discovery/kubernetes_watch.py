"""Following one kind of a cluster's objects: list, then watch from there, and list anew when lost.

As the API's own concepts have it: a list has a version, a watch from that version tells every
change, bookmarks move the version on while nothing changes. When the server has forgotten the
version (410 Gone, as a status or within the stream) everything is listed again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import msgspec
import structlog

from cnnf.defender.core.containers import clean_text
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.answers import decode
from cnnf.defender.discovery.errors import BadAnswer, EngineUnreachable
from cnnf.defender.discovery.kubernetes_client import KubernetesClient

_GONE = 410
_log = structlog.get_logger(__name__)


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


class _ObjectMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Object(msgspec.Struct):
    """An object as far as every kind has it; of a `Status` its code."""

    metadata: _ObjectMeta = msgspec.field(default_factory=_ObjectMeta)
    code: int = 0
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a watch: `raw` is the object as JSON, as it is or was at last."""

    raw: bytes
    deleted: bool = False


class Expired(BadAnswer):
    """The server has forgotten the version we were at: list again."""


class Watched:
    """One kind of objects, followed until an error. `listed` gets every object, `told` each change
    after that; both are given JSON, and awaited before what follows is read."""

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        *,
        objects_max: int,
        listed: Callable[[list[bytes]], Awaitable[None]],
        told: Callable[[Told], Awaitable[None]],
        **query: str,
    ) -> None:
        self._client = client
        self._path = path
        self._query = query
        self._objects_max = objects_max
        self._listed = listed
        self._told = told
        self._version = ""
        #: More objects than are followed: the first were kept.
        self.too_many = False

    async def run(self) -> None:
        """Follow for ever. Raises EngineError when the API can't be reached or errs."""
        # The server's own memory is good enough to begin with: what is newer is watched.
        await self._list(resourceVersion="0")
        wait_s = limits.KUBERNETES_WATCH_S_MIN
        while True:
            began = time.monotonic()
            try:
                await self._watch()
            except Expired as error:
                _log.info("listing again", path=self._path, why=str(error))
                await self._list()
            except EngineUnreachable:
                # A watch that was cut goes on where it was; one that never was is an outage.
                if time.monotonic() - began < limits.KUBERNETES_WATCH_S_MIN:
                    raise
            # A server or a proxy that ends every watch at once is asked less and less often.
            if time.monotonic() - began > limits.KUBERNETES_WATCH_S_MIN:
                wait_s = limits.KUBERNETES_WATCH_S_MIN
            else:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, limits.KUBERNETES_RETRY_LAST_S)

    async def _list(self, **query: str) -> None:
        """Every object, page by page."""
        for _ in range(limits.KUBERNETES_LIST_TRIES_MAX):
            try:
                objects, version = await self._pages(query)
            except BadAnswer as error:
                # The pages' own version can be forgotten between two of them.
                if error.status != _GONE:
                    raise
                continue
            await self._listed(objects)
            self._version = version
            return
        raise BadAnswer(f"GET {self._path}: the list expired while it was read, again and again")

    async def _pages(self, first: dict[str, str]) -> tuple[list[bytes], str]:
        objects: list[bytes] = []
        self.too_many = False
        query = {**self._query, "limit": str(limits.KUBERNETES_PAGE_OBJECTS), **first}
        while True:
            body = await self._client.get(self._path, **query)
            page: _List = decode(body, _List, self._path)
            objects += [bytes(item) for item in page.items or ()]
            more = page.metadata.continue_
            if len(objects) > self._objects_max:
                self.too_many = True
                del objects[self._objects_max :]
                more = ""
            if not more:
                return objects, page.metadata.resource_version
            # The version goes with the token.
            query.pop("resourceVersion", None)
            query["continue"] = more

    async def _watch(self) -> None:
        """Changes from where we are, until the server ends the watch.

        Raises Expired where something was missed.
        """
        lines = self._client.watch(
            self._path,
            limits.KUBERNETES_WATCH_S,
            **self._query,
            resourceVersion=self._version,
            allowWatchBookmarks="true",
        )
        try:
            async with aclosing(lines):
                async for line in lines:
                    await self._take(line)
        except BadAnswer as error:
            if error.status == _GONE:
                raise Expired(str(error)) from error
            raise

    async def _take(self, line: bytes) -> None:
        try:
            event: _Event = decode(line, _Event, f"{self._path}: event")
            raw = bytes(event.object)
            described: _Object = decode(raw, _Object, f"{self._path}: object")
        except BadAnswer as error:
            # It may have been about anything.
            raise Expired(str(error)) from error
        if event.type == "ERROR":
            said = clean_text(described.message, 200)
            kind = Expired if described.code == _GONE else BadAnswer
            raise kind(f"{self._path}: watch: status {described.code}: {said}")
        if event.type in ("ADDED", "MODIFIED", "DELETED"):
            await self._told(Told(raw=raw, deleted=event.type == "DELETED"))
        # BOOKMARK says nothing but the version; what is unknown is passed over.
        self._version = described.metadata.resource_version or self._version
