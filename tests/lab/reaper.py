"""Removes a killed test run's engines, namespaces and files: a process that outlives the run.

`python -m tests.lab.reaper PID` waits until its standard input ends, which is when the test run
does, however it ends. One that ends in order says so and has removed everything itself; else what
is left is found by its name, which holds the run's PID. Runs that were killed together with their
reaper are found by the next one (`remove_stale` of `netns` and `engine`).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import engine, netns

_ROOT = Path(__file__).parents[2]
_IN_ORDER = b"in order"
_END_S = 10.0


@contextmanager
def watching() -> Iterator[None]:
    """A reaper for this process, until the end."""
    process = subprocess.Popen(
        (sys.executable, "-m", "tests.lab.reaper", str(os.getpid())),
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        # Ctrl-C and a time limit reach the whole session of the run.
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.communicate(_IN_ORDER, timeout=_END_S)


def main() -> None:
    """Wait for the end of the run, then remove what it has left."""
    if sys.stdin.buffer.read() == _IN_ORDER:
        return
    # It may be listed still, until its own parent has taken note.
    gone = int(sys.argv[1])
    netns.remove_stale(gone)
    engine.remove_stale(gone)


if __name__ == "__main__":
    main()
