"""Runs the programs that change the kernel for us: nft, iptables-restore, iptables-save."""

import subprocess
import time
from pathlib import Path
from threading import Lock

from cnnf.defender.kernel.errors import MissingProgram, NotPermitted, ProgrammingFailed

#: A program that takes longer hangs on a lock that somebody else holds.
_TIMEOUT_SECONDS = 30

#: How long after its end a program's pid still means that program. The kernel gives the same number
#: again only after all others, so two seconds are safe, and word of a commit comes within one.
_PID_SECONDS = 2.0

PACKAGES = {
    "nft": "nftables",
    "iptables-restore": "iptables",
    "ip6tables-restore": "iptables",
    "iptables-save": "iptables",
    "ip6tables-save": "iptables",
}


def run(command: list[str], *, text: str = "", subject: str) -> str:
    """What the command prints, given `text` on standard input.

    Raises MissingProgram, NotPermitted or ProgrammingFailed, with the program's own words.
    """
    try:
        code, printed, said = _complete(command, text)
    except FileNotFoundError as error:
        package = PACKAGES.get(command[0], command[0])
        raise MissingProgram(
            f"{subject}: {command[0]} is not installed (package {package})"
        ) from error
    except PermissionError as error:
        raise NotPermitted(f"{subject}: {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ProgrammingFailed(
            f"{subject}: {command[0]} did not end within {_TIMEOUT_SECONDS} s"
        ) from error
    if code == 0:
        return printed
    words = " ".join(said.split())[:500]
    if "Operation not permitted" in words or "Permission denied" in words:
        raise NotPermitted(f"{subject}: {words}")
    raise ProgrammingFailed(f"{subject}: {command[0]}: {words or code}")


def was_ours(pid: int) -> bool:
    """Is this a thread of ours, or a program of ours that runs or has just ended?

    From any thread. How others' changes of the rules are told from our own; the kernel names the
    thread that made a change, not its process.
    """
    if Path(f"/proc/self/task/{pid}").exists():
        return True
    now = time.monotonic()
    with _lock:
        return pid in _running or now - _ended.get(pid, float("-inf")) < _PID_SECONDS


_lock = Lock()
_running: set[int] = set()
_ended: dict[int, float] = {}


def _complete(command: list[str], text: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, the pid noted for `was_ours`."""
    # Never with our signals: a Ctrl-C must not cut a change.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        with _lock:
            _running.add(process.pid)
        try:
            printed, said = process.communicate(text, timeout=_TIMEOUT_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            _note_end(process.pid)
    return process.returncode, printed, said


def _note_end(pid: int) -> None:
    now = time.monotonic()
    with _lock:
        _running.discard(pid)
        for old in [one for one, ended in _ended.items() if now - ended >= _PID_SECONDS]:
            del _ended[old]
        _ended[pid] = now
