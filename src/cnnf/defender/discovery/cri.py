"""Pods of containerd or CRI-O: all of their containers once, then every change as it happens.

The daemon runs `CriDiscovery(...).run()` as a task, one for each socket. A connection's life is in
`cri_session.py`, which loads gRPC (16 MB, some threads): not before there is a socket.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from cnnf.defender.core.containers import Change, EngineHealth
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    from cnnf.defender.discovery.cri_session import CriSession

#: containerd's, CRI-O's, and that of k3s and RKE2.
DEFAULT_SOCKETS = (
    Path("/run/containerd/containerd.sock"),
    Path("/run/crio/crio.sock"),
    Path("/run/k3s/containerd/containerd.sock"),
)

_log = structlog.get_logger(__name__)


class CriDiscovery:
    """Follows one runtime until cancelled; calls `on_change` from its own event loop.

    `cluster` is what its pods' cluster is called, '' where it was not said.
    """

    def __init__(
        self, on_change: Callable[[Change], None], socket: Path, *, cluster: str = ""
    ) -> None:
        self._on_change = on_change
        self._socket = socket
        self._cluster = cluster
        self._health = EngineHealth()

    async def run(self) -> None:
        """Follow the runtime for ever; whatever fails is reported as EngineHealth and retried."""
        wait_s = limits.RETRY_FIRST_S
        while True:
            began = time.monotonic()
            try:
                # Asking would tell as much, and load gRPC where nothing runs.
                if not await asyncio.to_thread(self._socket.exists):
                    raise EngineUnreachable(f"{self._socket} is not there", "engine-absent")
                session = await asyncio.to_thread(self._session)
                await session.run()
            except EngineError as error:
                self._report(EngineHealth(code=error.code, message=str(error)))
            if time.monotonic() - began > limits.RETRY_LAST_S:
                wait_s = limits.RETRY_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, limits.RETRY_LAST_S)

    def _session(self) -> "CriSession":
        # In a thread: loading takes 70 ms, in which our event loop has other things to do.
        from cnnf.defender.discovery.cri_session import CriSession

        return CriSession(self._socket, self._cluster, self._on_change, self._report)

    def _report(self, health: EngineHealth) -> None:
        """Say how it stands with the runtime, when that is news; what was found stays."""
        if health != self._health:
            self._health = health
            # A host without pods is no defect, a runtime that does not answer is one.
            fine = health.code in ("", "engine-absent")
            log = _log.info if fine else _log.warning
            log("runtime", code=health.code or "well", message=health.message)
            self._on_change(health)
