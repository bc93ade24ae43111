"""Others of cnnf's kind. Each is left out, with a line that says why, where it cannot be had.

* NetfilterQueue, the PyPI library, with a callback that does nothing but accept: the least that a
  firewall in Python can cost. Built once into bench/build, beside nothing of cnnf's.
* OpenSnitch, the application firewall for desktops, with one rule that allows everything. Debian's
  package is unpacked, not installed: installed it would filter this machine's own connections from
  that moment on.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from tests.lab.netns import Namespace

from bench import minimal, programs
from bench.errors import BenchError, Unfit

_REPOSITORY = Path(__file__).parent.parent
_UV = _REPOSITORY / ".uv" / "bin" / "uv"
_LIBRARY = programs.BUILD / "netfilterqueue"
_LIBRARY_VERSION = "1.1.0"
_LIBRARY_HEADER = Path("/usr/include/libnetfilter_queue/libnetfilter_queue.h")
_CALLBACK = Path(__file__).parent / "empty_callback.py"

_OPENSNITCH = programs.BUILD / "opensnitch"
_OPENSNITCH_PROGRAM = Path("usr") / "bin" / "opensnitchd"
#: A rule as OpenSnitch 1.5 reads it from its rules' directory.
_ALLOW_ALL = {
    "name": "allow-all",
    "enabled": True,
    "precedence": True,
    "action": "allow",
    "duration": "always",
    "operator": {"type": "simple", "operand": "true", "data": ""},
}

_FETCH_SECONDS = 180.0
_READY_SECONDS = 10.0


def fetch_netfilterqueue() -> str:
    """Build it unless it is there; why it cannot be had, '' when it can."""
    if (_LIBRARY / "netfilterqueue").is_dir():
        return ""
    if not _LIBRARY_HEADER.exists():
        return "install libnetfilter-queue-dev"
    uv = str(_UV) if _UV.exists() else shutil.which("uv")
    if uv is None:
        return "uv is not installed; make bench installs it"
    return _fetched(
        *(uv, "pip", "install", "--quiet", "--python", sys.executable),
        *("--target", str(_LIBRARY), f"NetfilterQueue=={_LIBRARY_VERSION}"),
        into=_LIBRARY,
    )


def fetch_opensnitch() -> str:
    """Unpack it unless it is there; why it cannot be had, '' when it can."""
    if _opensnitch_program() is not None:
        return ""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "opensnitchd is not installed, and there is no apt-get to fetch it"
    _OPENSNITCH.mkdir(parents=True, exist_ok=True)
    download = ("apt-get", "-qq", "download", "opensnitch")
    if _fetched(*download, into=_OPENSNITCH):
        # The lists of packages may be old, or never have been fetched.
        _OPENSNITCH.mkdir(exist_ok=True)
        reason = _fetched("apt-get", "-qq", "update", into=_OPENSNITCH)
        reason = reason or _fetched(*download, into=_OPENSNITCH)
        if reason:
            return reason
    for package in _OPENSNITCH.glob("opensnitch_*.deb"):
        reason = _fetched("dpkg-deb", "-x", str(package), str(_OPENSNITCH), into=_OPENSNITCH)
        if reason:
            return reason
    return "" if _opensnitch_program() is not None else "its package holds no opensnitchd"


@contextmanager
def netfilterqueue(namespace: Namespace) -> Iterator[None]:
    """Queue this namespace's SYNs to as many empty callbacks as the minimal loop has loops."""
    reason = fetch_netfilterqueue()
    if reason:
        raise Unfit(reason)
    with ExitStack() as cleanup:
        for number in range(minimal.QUEUES):
            words = (sys.executable, str(_CALLBACK), str(_LIBRARY), str(number))
            cleanup.enter_context(programs.running(namespace, *words))
        minimal.queue_syns(namespace, minimal.QUEUES)
        yield


@contextmanager
def opensnitch(namespace: Namespace, directory: Path) -> Iterator[None]:
    """OpenSnitch on this namespace, its rule and log in `directory`. It sees OUTPUT only."""
    program = _opensnitch_program()
    if program is None:
        raise Unfit("opensnitchd is not installed")
    rules, log = directory / "rules", directory / "opensnitch.log"
    rules.mkdir()
    (rules / "allow-all.json").write_bytes(msgspec.json.encode(_ALLOW_ALL))
    with log.open("wb") as output:
        process = namespace.start(
            *("setpriv", "--pdeathsig", "KILL", str(program), "-rules-path", str(rules)),
            *("-process-monitor-method", "proc", "-queue-num", "0"),
            *("-ui-socket", f"unix://{directory / 'no-window'}"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while "NFQUEUE" not in namespace.run("iptables-save", "-t", "mangle"):
            if process.poll() is not None or time.monotonic() > deadline:
                end = log.read_text(errors="replace")[-1000:]
                raise BenchError(f"opensnitchd did not start:\n{end}")
            time.sleep(0.1)
        yield
    finally:
        # It would take seconds to end by itself; its rules go with the namespace.
        process.kill()
        process.wait()


def _opensnitch_program() -> Path | None:
    installed = shutil.which("opensnitchd")
    if installed is not None:
        return Path(installed)
    unpacked = _OPENSNITCH / _OPENSNITCH_PROGRAM
    return unpacked if unpacked.exists() else None


def _fetched(*command: str, into: Path) -> str:
    """Run it; the last line of its complaint, '' when it has none. Nothing half-made stays."""
    into.parent.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            command,
            capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS,
            cwd=into if into.is_dir() else None,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        shutil.rmtree(into, ignore_errors=True)
        return f"{command[0]} took more than {_FETCH_SECONDS:.0f} s"
    if done.returncode == 0:
        return ""
    shutil.rmtree(into, ignore_errors=True)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"{command[0]} failed"
