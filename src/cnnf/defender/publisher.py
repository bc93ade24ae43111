"""Makes batches out of what is new and puts them on their way."""

import platform
import time
from collections.abc import Iterable

import msgspec

from cnnf import __version__
from cnnf.defender.core.conditions import Conditions
from cnnf.defender.core.flows import FlowTable
from cnnf.defender.core.inventory import Inventory
from cnnf.defender.core.limits import AWAY_INTERVAL_SECONDS, HEARTBEAT_SECONDS
from cnnf.defender.core.outbox import Outbox
from cnnf.protocol.codec import encode_batch
from cnnf.protocol.limits import ADDRESSES_MAX, BATCH_FLOWS_MAX, NETWORKS_MAX, PORTS_MAX
from cnnf.protocol.messages import Batch, HostInfo, HostNetwork, PolicyState, Settings, SpoolState


class Publisher:
    """One incarnation's batches. `host`, `applied`, `policy` and `spool` are set by others as they
    change; `failsafe` are the ports that are never refused here, for as long as this runs."""

    def __init__(
        self,
        outbox: Outbox,
        inventory: Inventory,
        flows: FlowTable,
        conditions: Conditions,
        failsafe: Iterable[int],
    ) -> None:
        self._outbox = outbox
        self._inventory = inventory
        self._flows = flows
        self._conditions = conditions
        self._published_at = 0.0
        self._told: tuple[HostInfo | None, Settings | None, PolicyState] | None = None
        self.host: HostInfo | None = None
        self.applied: Settings | None = None
        self._failsafe = tuple(sorted(set(failsafe)))[:PORTS_MAX]
        self.policy = PolicyState(failsafe=self._failsafe)
        self.spool: SpoolState | None = None

    def tell_policy(self, policy: PolicyState) -> None:
        """Which policy is in force by now, or why not."""
        self.policy = msgspec.structs.replace(policy, failsafe=self._failsafe)

    def publish(self, *, away: bool = False) -> bool:
        """Put one batch into the outbox if there is news or a heartbeat is due; True if so.

        While the Console is `away` there is time to gather more in one.
        """
        now = time.monotonic()
        gathering = away and len(self._flows) < BATCH_FLOWS_MAX // 2
        if gathering and now - self._published_at < AWAY_INTERVAL_SECONDS:
            return False
        told = (self.host, self.applied, self.policy)
        news = (
            len(self._flows)
            or self._inventory.has_news
            or self._conditions.changed
            or self._outbox.snapshot_due
            or told != self._told
        )
        if not news and now - self._published_at < HEARTBEAT_SECONDS:
            return False
        snapshot = self._outbox.snapshot_due
        flows = self._flows.take(BATCH_FLOWS_MAX)
        sent_at = time.time_ns() // 1_000_000
        batch = Batch(
            incarnation=self._outbox.incarnation,
            sequence=self._outbox.sequence(),
            sent_at=sent_at,
            host=self.host,
            snapshot=snapshot,
            instances=(
                self._inventory.take_snapshot() if snapshot else self._inventory.take_news()
            ),
            flows=flows,
            conditions=self._conditions.standing(),
            applied=self.applied,
            policy=self.policy,
            spool=self.spool,
        )
        self._outbox.put(encode_batch(batch), len(flows), sent_at=sent_at, now=now)
        self._published_at = now
        self._told = told
        return True


def host_info(name: str, addresses: list[str], networks: list[HostNetwork]) -> HostInfo:
    """This host, as the Console is told of it."""
    return HostInfo(
        name=name,
        addresses=addresses[:ADDRESSES_MAX],
        networks=networks[:NETWORKS_MAX],
        kernel=platform.release(),
        system=_system_name(),
        version=__version__,
    )


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""
