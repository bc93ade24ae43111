"""A containerd of our own within a network namespace, and pods in it as a kubelet would run them.

Debian's containerd and CNI plugins, an image made of busybox, nothing fetched. The data lies in a
directory of its own and is removed afterwards, with every process and mount that names it.
"""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from tests.lab.engine import BUSYBOX, STOP_S, remove_place
from tests.lab.generated import pods_pb2 as pods
from tests.lab.netns import Namespace, run

START_S = 60.0
CALL_S = 60.0
IMAGE = "docker.io/lab/box:1.0"
PAUSE = "docker.io/lab/pause:1.0"
PLUGINS = Path("/usr/lib/cni")

_CONFIG = """
version = 2
root = "{place}/root"
state = "{place}/state"
# What this machine has no file systems for.
disabled_plugins = ["io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{place}/sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{place}/net.d"
"""

T = TypeVar("T", bound=Message)


class Pod:
    """A sandbox that runs, with what is needed to put containers into it."""

    def __init__(self, sandbox: str, config: pods.SandboxConfig) -> None:
        self.sandbox = sandbox
        self.config = config


class Containerd:
    """One containerd in `namespace`, its files in `place`."""

    def __init__(self, namespace: Namespace, place: Path) -> None:
        self.namespace = namespace
        self.place = place
        self.socket = place / "sock"
        self.networks = place / "net.d"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None
        self._count = 0

    def start(self) -> None:
        """Start it and wait until it answers. Raises AssertionError with the end of its log."""
        self.networks.mkdir(parents=True, exist_ok=True)
        config = self.place / "config.toml"
        config.write_text(_CONFIG.format(place=self.place, pause=PAUSE, plugins=PLUGINS))
        with (self.place / "log").open("ab") as log:
            self._process = self.namespace.start(
                *("containerd", "--config", str(config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._channel = grpc.insecure_channel(f"unix://{self.socket}")
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = (self.place / "log").read_text(errors="replace")[-3000:]
                raise AssertionError(f"containerd did not start:\n{end}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it; its containers go on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it and remove everything of it: processes, mounts, files."""
        self.stop()
        remove_place(self.place)

    def network(self, configuration: dict[str, Any], name: str = "10-lab.conflist") -> None:
        """Give it a CNI configuration, which it reads as soon as it is there."""
        beside = self.networks / f".{name}"
        beside.write_text(json.dumps(configuration))
        beside.rename(self.networks / name)

    def import_box(self, *names: str) -> None:
        """Make images of busybox by these names, and the one of sandboxes."""
        archive = self.place / "box.tar"
        for name in (PAUSE, IMAGE, *names):
            archive.write_bytes(_image(name))
            run("ctr", "-a", str(self.socket), "-n", "k8s.io", "images", "import", str(archive))
        archive.unlink()

    def run_pod(
        self,
        name: str,
        *,
        namespace: str = "default",
        labels: dict[str, str] | None = None,
        host_network: bool = False,
        ports: dict[int, int] | None = None,
    ) -> Pod:
        """Run a sandbox, as a kubelet would name and label it."""
        self._count += 1
        uid = f"{os.getpid():08x}-0000-4000-8000-{self._count:012x}"
        config = pods.SandboxConfig(
            metadata=pods.Metadata(name=name, uid=uid, namespace=namespace),
            hostname="" if host_network else name,
            log_directory=str(self.place / "logs"),
            port_mappings=[
                pods.PortMapping(host_port=host, container_port=port)
                for host, port in (ports or {}).items()
            ],
            labels={
                **(labels or {}),
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": namespace,
                "io.kubernetes.pod.uid": uid,
            },
            linux=pods.LinuxSandbox(
                cgroup_parent=f"/kubepods/burstable/pod{uid}",
                security_context=pods.SandboxSecurity(
                    namespace_options=pods.NamespaceOption(network=2 if host_network else 0, pid=1)
                ),
            ),
        )
        made = self._call("RunPodSandbox", pods.RunPodSandboxRequest(config=config), pods.Id)
        return Pod(made.id, config)

    def run_container(
        self, pod: Pod, name: str, *command: str, image: str = IMAGE, attempt: int = 0
    ) -> str:
        """Start a container in a pod; its id."""
        metadata = pod.config.metadata
        request = pods.CreateContainerRequest(
            pod_sandbox_id=pod.sandbox,
            config=pods.ContainerConfig(
                metadata=pods.ContainerMetadata(name=name, attempt=attempt),
                image=pods.ImageSpec(image=image),
                command=command or ("/bin/sleep", "600"),
                log_path=f"{metadata.name}-{name}-{attempt}.log",
                labels={
                    "io.kubernetes.container.name": name,
                    "io.kubernetes.pod.name": metadata.name,
                    "io.kubernetes.pod.namespace": metadata.namespace,
                    "io.kubernetes.pod.uid": metadata.uid,
                },
                linux=pods.LinuxContainer(
                    security_context=pods.ContainerSecurity(
                        namespace_options=pod.config.linux.security_context.namespace_options
                    )
                ),
            ),
            sandbox_config=pod.config,
        )
        made = self._call("CreateContainer", request, pods.Id)
        self._call("StartContainer", made, pods.Empty)
        return made.id

    def stop_container(self, container: str) -> None:
        """End a container at once."""
        request = pods.StopContainerRequest(container_id=container)
        self._call("StopContainer", request, pods.Empty)

    def remove_container(self, container: str) -> None:
        """Forget a container that was ended."""
        self._call("RemoveContainer", pods.Id(id=container), pods.Empty)

    def remove_pod(self, pod: Pod) -> None:
        """End a pod with all its containers and forget it."""
        self._call("StopPodSandbox", pods.Id(id=pod.sandbox), pods.Empty)
        self._call("RemovePodSandbox", pods.Id(id=pod.sandbox), pods.Empty)

    def execute(self, container: str, *command: str) -> str:
        """Run a command within a container to its end; its output. Raises AssertionError."""
        request = pods.ExecSyncRequest(container_id=container, cmd=command, timeout=30)
        done = self._call("ExecSync", request, pods.ExecSyncResponse)
        assert done.exit_code == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="replace")

    def _call(self, method: str, request: Message, answer: type[T]) -> T:
        assert self._channel is not None
        call: Any = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        made: T = call(request, timeout=CALL_S)
        return made

    def _answers(self) -> bool:
        try:
            self._call("Version", pods.Empty(), pods.Empty)
        except grpc.RpcError:
            return False
        return True


def bridge_network(subnet: str, gateway: str, data: Path, bridge: str = "cni0") -> dict[str, Any]:
    """The configuration of a bridge with addresses of one subnet, as the plugins' manual has it."""
    return {
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(data),
                    "ranges": [[{"subnet": subnet, "gateway": gateway}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def missing() -> str:
    """What this machine lacks for a containerd of our own; '' when it has all."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in ("containerd", "ctr", "runc") if not shutil.which(name)]
    if not (PLUGINS / "bridge").exists():
        lacking.append("containernetworking-plugins")
    if not BUSYBOX.exists():
        lacking.append("busybox-static")
    return f"needs {', '.join(lacking)}" if lacking else ""


def _image(name: str) -> bytes:
    """An image archive (OCI image layout) with busybox and a few of its names."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for applet in ("sh", "sleep", "nc", "echo", "ip", "cat", "pause"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for folder in ("etc", "tmp", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
    blobs: dict[str, bytes] = {}

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    data = layer.getvalue()
    oci = "application/vnd.oci.image"
    config = {
        "architecture": "amd64",
        "os": "linux",
        # Its name makes it another image, so that each name has an id and a digest of its own.
        "config": {"Cmd": ["/bin/sleep", "86400"], "Labels": {"name": name}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": blob(f"{oci}.config.v1+json", json.dumps(config).encode()),
        "layers": [blob(f"{oci}.layer.v1.tar", data)],
    }
    described = blob(f"{oci}.manifest.v1+json", json.dumps(manifest).encode())
    described["annotations"] = {"io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [described]}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        files = {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
        files["index.json"] = json.dumps(index).encode()
        files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
        for path, content in files.items():
            file = tarfile.TarInfo(path)
            file.size = len(content)
            archive.addfile(file, io.BytesIO(content))
    return buffer.getvalue()
