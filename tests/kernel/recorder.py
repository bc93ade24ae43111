"""The Defender's kernel side as a program without a Console: it prints the flows it has seen.

The real table, rules, loops and attribution; only the link is left out, so that flows between mere
addresses, which Radar does not draw, can be compared one by one. Started by the tests within a
namespace; takes a command a line on standard input and answers with a line of JSON.
"""

import asyncio
import json
import os
import sys
from ipaddress import ip_network

import structlog

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.marks import DEFAULT_MASK, marks_at
from cnnf.defender.core.ruleset import Plan, Scopes
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.kernel import table
from cnnf.defender.kernel.footprint import Footprint
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.kernel.offload import Offload
from cnnf.defender.local_services import LocalServices
from cnnf.defender.observer import Observer

QUEUE = 8130


class Recorder:
    """Records everything between start and end; nothing is published."""

    def __init__(self, networks: list[str]) -> None:
        extra = tuple(ip_network(text) for text in networks)
        cgroups = Cgroups(cgroup2_mount())
        self.restarts = 0
        self.loops = Loops(
            range(QUEUE, QUEUE + 2),
            mark_mask=DEFAULT_MASK,
            fail_closed=False,
            on_report=lambda report: self.observer.take_report(report),
            on_restart=self._restarted,
        )
        self.observer = Observer(
            AddressBook(extra),
            LocalServices(cgroups, Processes(cgroups)),
            self.loops.name_cgroups,
            lambda _: None,
        )
        plan = Plan(
            marks=marks_at(DEFAULT_MASK),
            queue_first=QUEUE,
            queue_count=2,
            log_group=QUEUE,
            scopes=Scopes(containers=True, hosts=True),
            networks=extra,
        )
        self.offload = Offload(plan, self.loops.use_generation)

    def _restarted(self, _: int) -> None:
        self.restarts += 1

    async def run(self) -> None:
        """Serve commands until standard input ends."""
        footprint = Footprint()
        footprint.claim()
        try:
            await self.observer.refresh()
            self.loops.start(0)
            assert await self.loops.ready(10)
            await self.offload.install()
            working = asyncio.create_task(self.observer.run())
            working.add_done_callback(_end_with)
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                print(json.dumps(await self._answer(line)), flush=True)
            working.remove_done_callback(_end_with)
            working.cancel()
        finally:
            footprint.release()
            await self.loops.stop()

    async def _answer(self, command: str) -> object:
        if command == "ready":
            return self.loops.pids
        if command == "switch":
            self.observer.take_tallies(await self.offload.next_generation(), 1)
            return True
        if command == "state":
            _, undecodable, unaccounted = self.loops.totals
            return {
                "packets": self.loops.totals[0],
                "undecodable": undecodable,
                "unaccounted": unaccounted,
                "restarts": self.restarts,
                **table.counters(),
            }
        assert command == "flows", command
        # The loops report within a quarter of a second; names are waited for 1.5 s.
        await asyncio.sleep(2.0)
        self.observer.take_tallies(await self.offload.next_generation(), 1)
        await asyncio.sleep(2.0)
        return [
            {
                "source": flow.source.instance or flow.source.address,
                "destination": flow.destination.instance or flow.destination.address,
                "port": flow.port,
                "connections": flow.connections,
            }
            for flow in self.observer.flows.take(100_000)
        ]


def _end_with(task: "asyncio.Task[None]") -> None:
    """The observer runs for ever: whatever ended it is a failure of the test."""
    task.print_stack(file=sys.stderr)
    os._exit(3)


if __name__ == "__main__":
    # Standard output is for answers.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(Recorder(sys.argv[1:]).run())
