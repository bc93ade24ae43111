"""Services as systemd would have them: processes in `SLICE/NAME.service` of cgroup v2.

The slice is this test process's own: others, beside it, have services of the same names.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnf.defender.discovery.services import cgroup2_mount
from tests.lab.netns import Namespace


class Unit:
    """One service's cgroup; commands started through it belong to the service."""

    def __init__(self, name: str) -> None:
        mount = cgroup2_mount()
        assert mount is not None, "cgroup v2 is not mounted"
        self.name = name
        self.path: Path = mount / f"cnnf-test-{os.getpid()}.slice" / f"{name}.service"
        self.path.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    def command(self, *command: str) -> tuple[str, ...]:
        """The command as it has to be started to belong to the service."""
        return ("sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh", *command)

    def start(self, namespace: Namespace, *command: str, **more: Any) -> "subprocess.Popen[bytes]":
        """Start a command of the service in a namespace; ended with the unit."""
        process = namespace.start(*self.command(*command), **more)
        self._processes.append(process)
        return process

    def end(self) -> None:
        """End what still runs and remove the cgroup."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        # Something of the service that was not started here would keep it; then it is not ours.
        with suppress(OSError):
            self.path.rmdir()
            self.path.parent.rmdir()
