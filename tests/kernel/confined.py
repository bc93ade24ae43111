"""A program that confines itself as the Defender or a packet loop does, and tells what it can do.

`python -m tests.kernel.confined daemon|loop [--without CAPABILITY] --pid PID --socket PATH` tries
everything and prints {"problems": [...], "held": [...], "done": {what: "" or the error}}. It is run
in a network namespace of its own.
"""

import argparse
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cnnf.defender.kernel import bridges, namespaces, privileges, programs, syscall_filter
from cnnf.defender.kernel.sockdiag import SocketTable
from cnnf.defender.kernel.sockets import NETLINK_SOCK_DIAG, NetlinkSocket, confirm, packet_socket
from cnnf.defender.netlink import inet_diag, nfqueue

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _nft() -> None:
    programs.run(["nft", "-f", "-"], text="add table inet confined", subject="nft")
    programs.run(["nft", "list", "ruleset"], subject="nft")


def _iptables() -> None:
    programs.run(["iptables", "-t", "security", "-A", "INPUT", "-j", "ACCEPT"], subject="iptables")
    programs.run(["ip6tables-save"], subject="ip6tables")


def _iptables_legacy() -> None:
    programs.run(["iptables-legacy", "-t", "filter", "-S"], subject="iptables-legacy")


def _queue(number: int) -> None:
    sock = packet_socket(1 << 20, tell_overflow=False)
    confirm(sock, "binding", nfqueue.bind(number, 1))
    sock.close()


def _enter(pid: int) -> None:
    with namespaces.inside(f"/proc/{pid}/ns/net"):
        SocketTable().close()


def _look(pid: int) -> None:
    place = Path(f"/proc/{pid}")
    assert list(place.joinpath("fd").iterdir())
    place.joinpath("fd/0").readlink()
    place.joinpath("exe").readlink()


def _abort() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        here = client.getsockname()[1]
        found = [one for one in SocketTable().living() if one.source_port == here]
        netlink = NetlinkSocket(NETLINK_SOCK_DIAG)
        netlink.ask("aborting", inet_diag.destroy(netlink.sequence(), found[0]))
        accepted.close()
        client.close()


def _bridge() -> None:
    # In this namespace its own global setting is 1 by default.
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        Path("/proc/sys/net/bridge", name).write_text("0")
    assert bridges.switch_on("br0")


def _start_loop() -> None:
    """A child that becomes nobody, with one capability; we end it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        problems = privileges.confine_loop()
        os.write(writer, json.dumps([problems, privileges.held(), os.getresuid()]).encode())
        # Ends by itself, in case that it can't be ended.
        signal.alarm(2)
        signal.pause()
    try:
        problems, held, users = json.loads(os.read(reader, 4096))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if problems or held != ["NET_ADMIN"] or set(users) != {65_534}:
        raise OSError(1, f"{problems} {held} {users}")


def _nice() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -15)


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


def _gain() -> None:
    """A program that is set-uid or whatever else cannot gain anything."""
    words = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True)
    status = dict(line.split(":\t", 1) for line in words.stdout.splitlines() if ":\t" in line)
    bits = {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")}
    own = sum(1 << privileges._NAMES.index(name) for name in privileges.held())
    if any(one & ~own for one in bits) or status["NoNewPrivs"] != "1":
        return
    raise PermissionError(1, "nothing gained")


def actions(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is tried: first what it needs, then what it must not do."""
    return {
        "nft": _nft,
        "iptables": _iptables,
        "iptables-legacy": _iptables_legacy,
        "queue": lambda: _queue(7),
        "enter a namespace": lambda: _enter(options.pid),
        "look at a process": lambda: _look(options.pid),
        "abort a socket": _abort,
        "switch a bridge": _bridge,
        "write a setting": lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"),
        "engine's socket": lambda: _connect(options.socket),
        "start a loop": _start_loop,
        "priority": _nice,
        "write its directory": lambda: Path(options.socket + ".new").write_text("x"),
        "mount": lambda: _call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
        "umount": lambda: _call("umount2", b"/mnt", 0),
        "chroot": lambda: _call("chroot", b"/"),
        "change an owner": lambda: os.chown(options.socket, 1, 1),
        "load a module": lambda: _call("syscall", 175, None, 0, b""),
        # CAD_OFF: even where it works it does no harm.
        "reboot": lambda: _call("reboot", 0),
        "set the clock": lambda: _call("clock_settime", 0, (ctypes.c_long * 2)(2**40, 0)),
        "trace": lambda: _call("ptrace", 16, options.pid, None, None),
        "enter a file system": lambda: _enter_files(options.pid),
        "a namespace of its own": lambda: _call("unshare", 0x10000000),
        "write others' files": lambda: Path(f"/proc/{options.pid}/oom_score_adj").write_text("5"),
        "make a device": lambda: os.mknod(options.socket + ".dev", 0o20600, os.makedev(1, 3)),
        "gain by a program": _gain,
    }


def _enter_files(pid: int) -> None:
    with Path(f"/proc/{pid}/ns/mnt").open() as file:
        _call("setns", file.fileno(), 0)


def main() -> None:
    """Confine, try, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["daemon", "loop"])
    parser.add_argument("--without", default="")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--socket", required=True)
    options = parser.parse_args()
    # What is imported when it is first used has to be read now: nobody may not read the library.
    "localhost".encode("idna")
    if options.what == "loop":
        problems = privileges.confine_loop()
    elif options.without:
        keep = [name for name in privileges.DAEMON if name != options.without]
        problems = privileges._confine(keep, filter_calls=syscall_filter.DAEMON)
    else:
        problems = privileges.confine_daemon()
    done = {}
    for name, act in actions(options).items():
        try:
            act()
        except Exception as error:
            done[name] = f"{type(error).__name__}: {error}"
        else:
            done[name] = ""
    json.dump({"problems": problems, "held": privileges.held(), "done": done}, sys.stdout)


if __name__ == "__main__":
    main()
