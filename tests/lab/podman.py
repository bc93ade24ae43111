"""Podman of our own within a network namespace, with its own storage, removed afterwards."""

import io
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import httpx

from tests.lab.engine import BUSYBOX, IMAGE
from tests.lab.netns import Namespace, run

START_S = 30.0


class Podman:
    """`podman system service` in `namespace`, its files in `place`."""

    def __init__(self, namespace: Namespace, place: Path) -> None:
        self.namespace = namespace
        self._place = place
        self.socket = place / "podman.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises AssertionError with the end of its log."""
        self._place.mkdir(parents=True, exist_ok=True)
        with (self._place / "log").open("ab") as log:
            self._process = self.namespace.start(
                *self._command("system", "service", "--time", "0", f"unix://{self.socket}"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self._place / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop answering; containers go on without it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything of it: containers, process, mounts, files."""
        self.podman("rm", "--all", "--force", "--time", "0", check=False)
        self.stop()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if (mounted := line.split(" ")[4]).startswith(f"{self._place}/"):
                run("umount", "-l", mounted, check=False)
        shutil.rmtree(self._place, ignore_errors=True)

    def podman(self, *arguments: str, check: bool = True) -> str:
        """Run the `podman` program on the same storage."""
        return run(*self.namespace.command(*self._command(*arguments)), check=check).strip()

    def import_box(self) -> None:
        """Make the image IMAGE: busybox, nothing fetched."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(BUSYBOX, "bin/busybox")
        command = self.namespace.command(*self._command("import", "-", f"docker.io/{IMAGE}"))
        subprocess.run(command, input=buffer.getvalue(), check=True, capture_output=True)

    def run_box(self, *options: str) -> str:
        """Start a container of IMAGE in the background; its id."""
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
        command = ("run", "--detach", *limits, *options, f"docker.io/{IMAGE}")
        return self.podman(*command, "/bin/busybox", "sleep", "600").splitlines()[-1]

    def _command(self, *arguments: str) -> tuple[str, ...]:
        place = self._place
        return (
            *("podman", "--root", str(place / "root"), "--runroot", str(place / "run")),
            *("--tmpdir", str(place / "tmp"), "--network-config-dir", str(place / "networks")),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
            *("--storage-driver", "vfs", *arguments),
        )

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket))) as client:
            try:
                return client.get("http://podman/_ping", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False
