"""What a Defender tells the Console, from the batch to its acknowledgement: the parts together.

The daemon makes one, sets what is to be told, runs its tasks and lets it finish.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256

from cnnf.defender.core.conditions import Code, Conditions
from cnnf.defender.core.flows import FlowTable
from cnnf.defender.core.inventory import Inventory
from cnnf.defender.core.limits import (
    BATCH_INTERVAL_SECONDS,
    OUTBOX_BATCHES_MAX,
    OUTBOX_BYTES_MAX,
)
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.link.backlog import Backlog
from cnnf.defender.link.credentials import Credentials, tls
from cnnf.defender.link.directory import Directory
from cnnf.defender.link.policy import PolicyFetch
from cnnf.defender.link.renewal import Renewal
from cnnf.defender.link.spool import SpoolFiles
from cnnf.defender.link.uplink import Uplink
from cnnf.defender.publisher import Publisher
from cnnf.protocol.messages import Settings

#: How long the last counts may take to reach the Console on the way out.
_DRAIN_SECONDS = 2.0


class Delivery:
    """One process's way to the Console. Raises CredentialsBroken when there is no identity."""

    def __init__(
        self,
        credentials: Credentials,
        inventory: Inventory,
        flows: FlowTable,
        conditions: Conditions,
        *,
        quota: int,
        failsafe: Iterable[int],
        on_open: Callable[[], None],
        on_settings: Callable[[Settings], None],
        on_event: Callable[[str, str], None],
        raise_: Callable[[Code, str], None],
        happened: Callable[[Code, str], None],
    ) -> None:
        identity = credentials.identity()
        context = tls(identity)
        #: Where the Console takes batches.
        self.url = identity.url
        self.directory = Directory(identity.url, context)
        self.policy = PolicyFetch(identity.url, context)
        #: Which Console it is, and by whom and to whom everything is said: another one has another
        #: policy and knows other hosts.
        self.console = sha256(identity.authority.encode()).hexdigest()
        self.parties = f"{identity.defender} {self.console}"
        self.outbox = Outbox(
            secrets.token_hex(16), batches_max=OUTBOX_BATCHES_MAX, bytes_max=OUTBOX_BYTES_MAX
        )
        self.publisher = Publisher(self.outbox, inventory, flows, conditions, failsafe)
        self._backlog = Backlog(
            self.outbox,
            SpoolFiles(credentials.directory / "spool", identity.defender),
            quota,
            happened=happened,
            raise_=raise_,
            clear=conditions.clear,
        )
        self._uplink = Uplink(
            identity.url,
            context,
            self.outbox,
            self._backlog,
            on_open=on_open,
            on_settings=on_settings,
            on_event=on_event,
            on_refused=lambda reason: raise_("batch-refused", reason),
        )
        self._renewal = Renewal(
            credentials,
            identity,
            context,
            on_renewed=self._uplink.renewed,
            raise_=raise_,
            clear=conditions.clear,
        )

    async def listen(self) -> None:
        """Follow what the Console wants, for ever; from the first moment on."""
        await self._uplink.listen_for_ever()

    async def open(self) -> None:
        """Find what former processes have left to be told."""
        await self._backlog.open()

    #: Those of the tasks that must not be ended before `finish`.
    LAST = ("upload", "spool")

    @property
    def tasks(self) -> tuple[tuple[str, Callable[[], Awaitable[None]]], ...]:
        """What has to run for ever, by name."""
        return (
            ("publisher", self._publish_for_ever),
            ("upload", self._uplink.send_for_ever),
            ("spool", self._backlog.keep_for_ever),
            ("certificate", self._renewal.renew_for_ever),
        )

    async def finish(self) -> None:
        """The last batch; what the Console does not take now is kept on disk.

        The tasks `upload` and `spool` still run: one delivers, the other may hold the disk.
        """
        self.publisher.publish()
        self._uplink.notify()
        await self._uplink.drained(_DRAIN_SECONDS)
        await self._backlog.keep_all()
        await self.directory.close()

    async def _publish_for_ever(self) -> None:
        while True:
            self.publisher.spool = self._backlog.state
            away = not self._uplink.reachable and not self._backlog.empty
            if self.publisher.publish(away=away):
                self._uplink.notify()
            await asyncio.sleep(BATCH_INTERVAL_SECONDS)
