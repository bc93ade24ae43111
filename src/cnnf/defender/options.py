"""How a Defender is run: what the command line and `cnnf up` hand to the daemon."""

from pathlib import Path

import msgspec

from cnnf.defender.core.limits import SPOOL_BYTES_DEFAULT
from cnnf.defender.core.marks import DEFAULT_MASK
from cnnf.defender.discovery.cri import DEFAULT_SOCKETS
from cnnf.defender.discovery.docker import DOCKER_SOCKETS
from cnnf.defender.kernel.footprint import RUN_DIRECTORY
from cnnf.defender.kernel.loop_process import LoopKind
from cnnf.policy.addresses import Network

DEFAULT_QUEUE = 8030
#: Ports of this host that are never refused: its administrator must get in.
DEFAULT_FAILSAFE = (22,)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a Defender is run. `networks` are container networks that no engine tells about."""

    directory: Path
    queue_first: int = DEFAULT_QUEUE
    queue_count: int = 0
    mark_mask: int = DEFAULT_MASK
    log_group: int = DEFAULT_QUEUE
    fail_closed: bool = False
    loop: LoopKind = "auto"
    policy: Path | None = None
    failsafe_ports: tuple[int, ...] = DEFAULT_FAILSAFE
    docker_sockets: tuple[Path, ...] = DOCKER_SOCKETS
    cri_sockets: tuple[Path, ...] = DEFAULT_SOCKETS
    #: Where a cluster's API is, for a Defender that runs outside of a pod.
    kubeconfig: Path | None = None
    #: This host's name in the cluster, and the cluster's; empty: its host name, and as it says.
    node: str = ""
    cluster: str = ""
    networks: tuple[Network, ...] = ()
    #: Servers of DNS, packed, whose answers count for rules beside those that the host asks.
    resolvers: tuple[bytes, ...] = ()
    host_name: str = ""
    #: Bytes of disk for what the Console has not acknowledged; 0: none.
    spool_bytes: int = SPOOL_BYTES_DEFAULT
    run_directory: Path = RUN_DIRECTORY
    #: Privileges that could not be given up, as sentences.
    unconfined: tuple[str, ...] = ()
    #: The process to stop when somebody wants this Defender to end; 0: this one.
    stop_pid: int = 0
