"""What a running demo wrote down, so that a later command finds and removes exactly that.

One estate a network namespace: the file is named after the namespace's inode, so a demo within a
test's own namespace and one on the machine do not meet.
"""

import os
import shutil
from pathlib import Path

import msgspec

from cnnf.cli.failure import Failure

_ROOT = Path("/run/cnnf")


class StartedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process we started. With `started` (clock ticks since boot) a reused pid is no match."""

    name: str
    pid: int
    started: int


class State(msgspec.Struct, kw_only=True):
    """All that a demo made besides what carries its label in the engine."""

    owner: StartedProcess
    docker: str
    started_at: int
    services: list[StartedProcess] = []
    units: list[str] = []
    cgroups: list[str] = []
    internet: list[StartedProcess] = []
    namespace: str = ""
    link: str = ""
    ready: bool = False


def directory() -> Path:
    """Where this network namespace's demo keeps its state."""
    return _ROOT / f"demo-{network_namespace()}"


def network_namespace() -> int:
    """The inode of the network namespace this process is in."""
    return Path("/proc/self/ns/net").stat().st_ino


def load() -> State | None:
    """The state of this namespace's demo; None when there is none.

    Raises Failure when the file is there but is not ours to read or understand.
    """
    path = directory() / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", hint="run it as root") from error
    except msgspec.DecodeError as error:
        raise Failure(f"{path} is damaged: {error}", hint=f"remove it: rm {path}") from error


def save(state: State) -> None:
    """Write the state in one step, so that a kill in between leaves the old or the new."""
    place = directory()
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    fresh = place / "state.json.new"
    fresh.write_bytes(msgspec.json.encode(state))
    fresh.replace(place / "state.json")


def forget() -> None:
    """Remove the state of this namespace's demo."""
    shutil.rmtree(directory(), ignore_errors=True)


def process(name: str, pid: int) -> StartedProcess:
    """A process as written down; `started` is 0 when it is gone already."""
    return StartedProcess(name=name, pid=pid, started=_started(pid))


def is_alive(written: StartedProcess) -> bool:
    """True while the very process that was written down runs."""
    return written.started != 0 and _started(written.pid) == written.started


def this_process() -> StartedProcess:
    """The process this runs in."""
    return process("cnnf demo", os.getpid())


def _started(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The name in parentheses may hold anything; the fields after it are fixed (proc(5): 22nd,
    # so the 20th after the name; the first is the state).
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])
