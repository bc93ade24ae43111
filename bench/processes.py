"""What processes use, from /proc: their time on a core and their memory."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1024


def tree(root: int, words: str) -> list[int]:
    """The process below `root` whose command line holds `words`, with all below it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    below = _below(children, root)
    for pid in below:
        with suppress(OSError):
            command = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
            if words.encode() in command:
                return _below(children, pid)
    return []


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes, and the children that they have reaped, have used of a core."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            # proc(5): after the program's name, which may hold spaces, fields 11 to 14 are times.
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_bytes(pids: Iterable[int]) -> int:
    """Their memory; what several share counts once, by shares (PSS)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * _KIB
    return total


def _below(children: dict[int, list[int]], root: int) -> list[int]:
    """The process and its descendants, parents first."""
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children.get(pid, [])
    return found
