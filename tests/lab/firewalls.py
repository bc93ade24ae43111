"""Other programs that own a host's firewall, run for real within a namespace: firewalld and ufw.

Neither needs systemd. firewalld gets a message bus and a configuration of its own; ufw, whose
configuration lies in /etc, gets a copy mounted over it that only its own process sees.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.lab.netns import Namespace, run

#: firewalld is a Python program that loads a hundred XML files.
_START_S = 30.0

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={bus}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class Firewall(Protocol):
    """What a test asks of either."""

    def start(self) -> None:
        """Begin to close every port that is not opened."""

    def open(self, *ports: int) -> None:
        """Open ports, now and after a reload."""

    def reload(self) -> None:
        """Build all rules anew."""

    def rules(self) -> list[str]:
        """Its own rules, without counters."""

    def stop(self) -> None:
        """End it."""


class Firewalld:
    """firewalld with its nftables back end, as Debian has it."""

    needs = ("firewalld", "firewall-cmd", "dbus-daemon")

    def __init__(self, namespace: Namespace, place: Path) -> None:
        self._namespace, self._place = namespace, place / "firewalld"
        self._started: list[subprocess.Popen[bytes]] = []
        bus = self._place / "bus"
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}

    def start(self) -> None:
        """Start the bus and the firewall; wait until it answers."""
        shutil.copytree("/etc/firewalld", self._place / "etc")
        configuration = self._place / "bus.conf"
        configuration.write_text(_BUS.format(bus=self._place / "bus"))
        self._run("dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile")
        self._until((self._place / "bus").exists, "the message bus")
        self._run(
            *("firewalld", "--nofork", "--nopid", "--log-target", "console"),
            *("--system-config", str(self._place / "etc")),
        )
        self._until(lambda: self._ask("--state").strip() == "running", "firewalld")

    def open(self, *ports: int) -> None:
        """Open ports, now and after a reload."""
        given = [f"--add-port={port}/tcp" for port in ports]
        assert "success" in self._ask(*given)
        assert "success" in self._ask("--permanent", *given)

    def reload(self) -> None:
        """Build all rules anew."""
        assert "success" in self._ask("--reload")

    def rules(self) -> list[str]:
        """Its table."""
        listed = self._namespace.run("nft", "-s", "list", "table", "inet", "firewalld")
        return sorted(listed.splitlines())

    def stop(self) -> None:
        """End it, and then its bus."""
        for process in reversed(self._started):
            process.terminate()
            process.wait(_START_S)

    def _run(self, *command: str) -> None:
        with (self._place / "log").open("ab") as log:
            process = self._namespace.start(
                *command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._started.append(process)

    def _ask(self, *arguments: str) -> str:
        command = self._namespace.command("firewall-cmd", *arguments)
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def _until(self, holds: Callable[[], object], what: str) -> None:
        until = time.monotonic() + _START_S
        while not holds():
            said = (self._place / "log").read_text(errors="replace")
            assert time.monotonic() < until, f"{what} did not start: {said[-2000:]}"
            time.sleep(0.1)


class Ufw:
    """ufw, over iptables."""

    needs = ("ufw",)

    def __init__(self, namespace: Namespace, place: Path) -> None:
        self._namespace, self._place = namespace, place / "ufw"

    def start(self) -> None:
        """Enable it: everything that comes in is dropped."""
        self._place.mkdir()
        shutil.copytree("/etc/ufw", self._place / "etc")
        shutil.copy("/etc/default/ufw", self._place / "default")
        self._ask("--force", "enable")

    def open(self, *ports: int) -> None:
        """Open ports."""
        for port in ports:
            self._ask("allow", f"{port}/tcp")

    def reload(self) -> None:
        """Build all rules anew."""
        self._ask("reload")

    def rules(self) -> list[str]:
        """All rules of iptables."""
        saved = self._namespace.run("iptables-save") + self._namespace.run("ip6tables-save")
        kept = (line for line in saved.splitlines() if line.startswith(("-A", ":")))
        # A chain's policy stands beside its counters.
        return sorted(line.partition(" [")[0] for line in kept)

    def stop(self) -> None:
        """Disable it."""
        self._ask("disable")

    def _ask(self, *arguments: str) -> str:
        mount = (
            f"mount --bind {self._place}/etc /etc/ufw && "
            f'mount --bind {self._place}/default /etc/default/ufw && exec ufw "$@"'
        )
        command = ("unshare", "--mount", "sh", "-c", mount, "sh", *arguments)
        return run(*self._namespace.command(*command))


def missing(kind: type[Firewalld] | type[Ufw]) -> str:
    """What this machine lacks for it; '' when it has all."""
    lacking = [name for name in kind.needs if not shutil.which(name)]
    return f"needs {', '.join(lacking)}" if lacking else ""
