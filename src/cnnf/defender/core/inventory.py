"""The instances of this host as the Console has been told about them, and what is news."""

import msgspec

from cnnf.protocol.limits import BATCH_INSTANCES_MAX
from cnnf.protocol.messages import Instance


class Inventory:
    """Running instances by id; changes wait here for the next batch."""

    def __init__(self) -> None:
        self._running: dict[str, Instance] = {}
        self._news: dict[str, Instance] = {}

    @property
    def has_news(self) -> bool:
        """Is there anything the Console has not been told?"""
        return bool(self._news)

    def put(self, instance: Instance) -> None:
        """An instance runs; it is news if anything about it is different."""
        if self._running.get(instance.id) != instance:
            self._running[instance.id] = instance
            self._news[instance.id] = instance

    def stop(self, instance: str, at_ms: int) -> None:
        """An instance no longer runs."""
        gone = self._running.pop(instance, None)
        if gone is not None:
            self._news[instance] = msgspec.structs.replace(gone, stopped_at=max(at_ms, 1))

    def running(self, kind: str) -> set[str]:
        """The ids of the running instances of a kind."""
        return {key for key, instance in self._running.items() if instance.kind == kind}

    def take_news(self) -> list[Instance]:
        """Changes since the last call, at most what a batch may hold."""
        keys = list(self._news)[:BATCH_INSTANCES_MAX]
        return [self._news.pop(key) for key in keys]

    def take_snapshot(self) -> list[Instance]:
        """Everything that runs; whatever does not fit follows as news."""
        everything = list(self._running.values())
        self._news = {one.id: one for one in everything[BATCH_INSTANCES_MAX:]}
        return everything[:BATCH_INSTANCES_MAX]
