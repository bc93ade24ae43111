"""A Docker Engine of our own within a network namespace, with its own data, removed afterwards."""

import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import httpx

from tests.lab.netns import Namespace, has_ended, run

#: Seconds the engine may take to start and to stop on a busy machine.
START_S = 60.0
STOP_S = 30.0

BUSYBOX = Path("/bin/busybox")
IMAGE = "lab/box:1.0"


class Engine:
    """One dockerd (which starts its own containerd) in `namespace`, its files in `place`.

    `options` are more of dockerd's.
    """

    def __init__(self, namespace: Namespace, place: Path, *options: str) -> None:
        self.namespace = namespace
        self._place = place
        self._options = options
        self.socket = place / "sock"
        self.address = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises AssertionError with the end of its log."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it; `wait` before it is used."""
        self._place.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = self.namespace.start(
                *("dockerd", "--data-root", str(self._place / "data")),
                *("--exec-root", str(self._place / "exec")),
                *("--pidfile", str(self._place / "pid"), "-H", self.address),
                *self._options,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it answers. Raises AssertionError with the end of its log."""
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = self._log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"dockerd did not start:\n{end}")
            time.sleep(0.1)

    def ask_to_end(self) -> None:
        """Have it stop, if it runs; `stop` waits for its end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop it; its containers stop too."""
        if self._process is None:
            return
        self.ask_to_end()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and remove everything of it: processes, mounts, files."""
        self.stop()
        remove_place(self._place)

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the `docker` program against this engine."""
        return run("docker", "-H", self.address, *arguments, check=check).strip()

    def import_box(self) -> None:
        """Make the image IMAGE: busybox and a shell, nothing fetched."""
        links = {f"bin/{name}": "busybox" for name in ("sh", "sleep", "nc", "echo", "ip", "cat")}
        self.import_files(IMAGE, {"bin/busybox": BUSYBOX}, links)

    def import_files(
        self, image: str, files: Mapping[str, Path], links: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Make an image of files and symbolic links alone, by their paths in it."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, file in files.items():
                archive.add(file, name)
            for name, target in links.items():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
        command = ("docker", "-H", self.address, "import", "-", image)
        subprocess.run(command, input=buffer.getvalue(), check=True, capture_output=True)

    def run_box(self, *options: str, command: tuple[str, ...] = ("sleep", "600")) -> str:
        """Start a container of IMAGE in the background; its id."""
        return self.docker("run", "--detach", *options, IMAGE, *command)

    def run_to_end(
        self, image: str, command: tuple[str, ...], *, network: str, bind: str = ""
    ) -> None:
        """Run a container to its end and remove it, without the `docker` program, which takes
        longer. Raises AssertionError unless it succeeds."""
        wanted = {
            "Image": image,
            "Cmd": list(command),
            "HostConfig": {"NetworkMode": network, "Binds": [bind] if bind else []},
        }
        transport = httpx.HTTPTransport(uds=str(self.socket))
        with httpx.Client(transport=transport, base_url="http://docker", timeout=60) as client:
            id_ = client.post("/containers/create", json=wanted).raise_for_status().json()["Id"]
            client.post(f"/containers/{id_}/start").raise_for_status()
            ended = client.post(f"/containers/{id_}/wait").raise_for_status().json()
            client.delete(f"/containers/{id_}", params={"force": "true"}).raise_for_status()
        assert ended["StatusCode"] == 0, f"{image}: {command}: {ended}"

    @property
    def _log(self) -> Path:
        return self._place / "log"

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket))) as client:
            try:
                return client.get("http://docker/_ping", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False


def remove_place(place: Path) -> None:
    """Remove engines' directory and what still holds on to it: processes, mounts, cgroups."""
    containers = [path.name for path in place.glob("**/data/containers/*")]
    groups = [Path(mount) / "docker" / id_ for mount in _cgroup_mounts() for id_ in containers]
    for pid in [*_leftovers(place), *_members(groups)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for _ in range(3):
        mounts = _mounts(place)
        for mount in reversed(mounts):
            run("umount", "-l", mount, check=False)
        if not mounts:
            break
    shutil.rmtree(place, ignore_errors=True)
    for group in groups:
        with suppress(OSError):
            group.rmdir()


def _members(groups: list[Path]) -> list[int]:
    """The processes of containers, which outlive a killed engine."""
    found = []
    for group in groups:
        with suppress(OSError):
            found += [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    return found


def _cgroup_mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split(" ")[4] for line in lines if " - cgroup" in line]


def _leftovers(place: Path) -> list[int]:
    """Processes that name the directory: a containerd or shims that outlived dockerd."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                program = words[0].rpartition(b"/")[2]
                ours = any(f"{place}/".encode() in word for word in words)
                if ours and program.startswith((b"containerd", b"dockerd", b"docker-proxy")):
                    found.append(int(entry.name))
    return found


def _mounts(place: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = (line.split(" ")[4] for line in lines)
    return [mounted for mounted in places if mounted.startswith(f"{place}/")]


def remove_stale(gone: int = 0) -> None:
    """Remove what engines of killed test runs left: `/tmp/cnnf-test-PID…` of processes gone."""
    for place in Path("/tmp").glob("cnnf-test-*"):
        match = re.fullmatch(r"cnnf-test-(\d+)(-.*)?", place.name)
        if match and has_ended(int(match[1]), gone):
            remove_place(place)


def missing() -> str:
    """What this machine lacks for an engine of our own; '' when it has all."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in ("dockerd", "containerd", "docker") if not shutil.which(name)]
    if not BUSYBOX.exists():
        lacking.append("busybox-static")
    return f"needs {', '.join(lacking)}" if lacking else ""
