"""The minimal loop as a firewall: minimal_loop.c, a set of known flows, and the rules around them.

What a good engineer would write in an afternoon to have first contacts answered in userspace and
everything else by the kernel: the measure of what first-seen flows may cost.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.lab.netns import Namespace

from bench import programs
from bench.errors import BenchError

#: As many as cnnf starts by itself: one a core, at most four.
QUEUES = min(4, os.cpu_count() or 1)

#: The mark's bits: 1 is known, so not asked about; 2 is to be remembered.
_KNOWN, _REMEMBER = 1, 2
_SYN = "tcp flags & (fin|syn|rst|ack) == syn"
_KEY = "ip saddr . tcp dport . ip daddr"
#: The same bound as cnnf has for each of its sets.
_FLOWS_MAX = 131_072

_HOOKS = ("input", "forward", "output")
_TABLE = "\n".join(
    [
        "table inet minimal {",
        f"  set known {{ typeof {_KEY}; size {_FLOWS_MAX}; flags dynamic; }}",
        *(
            f"  chain {hook}_known {{ type filter hook {hook} priority 45; "
            f"{_SYN} {_KEY} @known meta mark set {_KNOWN}; }}"
            for hook in _HOOKS
        ),
        *(
            # Behind the queue: iptables' security table is at 150, or at 50 by the legacy one.
            f"  chain {hook}_done {{ type filter hook {hook} priority 160; "
            f"{_SYN} meta mark {_REMEMBER} add @known {{ {_KEY} }}; }}"
            for hook in _HOOKS
        ),
        "}",
        "",
    ]
)


class MinimalLoop:
    """A running minimal loop."""

    def __init__(self, namespace: Namespace, loops: "list[subprocess.Popen[bytes]]") -> None:
        self._namespace = namespace
        self._loops = loops

    def check(self) -> None:
        """Raises BenchError when a loop has ended."""
        if any(loop.poll() is not None for loop in self._loops):
            raise BenchError("the minimal loop has ended")

    def forget(self) -> None:
        """Empty the set of known flows, which nothing else ever does."""
        self._namespace.run("nft", "flush", "set", "inet", "minimal", "known")


@contextmanager
def minimal_loop(namespace: Namespace) -> Iterator[MinimalLoop]:
    """Queue, answer and remember on this namespace until the end. Raises BenchError."""
    program = programs.compiled("minimal_loop")
    with ExitStack() as cleanup:
        loops = [
            cleanup.enter_context(
                programs.running(
                    namespace, str(program), "--queue", str(number), "--mark", str(_REMEMBER)
                )
            )
            for number in range(QUEUES)
        ]
        done = subprocess.run(
            namespace.command("nft", "-f", "-"),
            input=_TABLE, text=True, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise BenchError(f"the minimal loop's table: {done.stderr.strip()}")
        queue_syns(namespace, QUEUES, "-m", "mark", "!", "--mark", str(_KNOWN))
        yield MinimalLoop(namespace, loops)


def queue_syns(namespace: Namespace, queues: int, *match: str) -> None:
    """Queue the SYNs that match, in the three hooks that a host's connections meet."""
    queue = ["--queue-num", "0"]
    if queues > 1:
        queue = ["--queue-balance", f"0:{queues - 1}", "--queue-cpu-fanout"]
    for hook in _HOOKS:
        namespace.run(
            *("iptables", "-t", "security", "-A", hook.upper(), "-p", "tcp"),
            *("--tcp-flags", "FIN,SYN,RST,ACK", "SYN", *match),
            *("-j", "NFQUEUE", *queue, "--queue-bypass"),
        )
