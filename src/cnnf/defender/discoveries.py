"""Who tells of containers and pods on this host: every source there may be, made from the options.

The daemon runs each as a task. Sources that are not there cost a look every ten seconds.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from cnnf.defender.core.containers import Change
from cnnf.defender.core.pods import VirtualPlace
from cnnf.defender.discovery.cri import CriDiscovery
from cnnf.defender.discovery.docker import DockerDiscovery
from cnnf.defender.options import Options


def discoveries(
    options: Options,
    told: Callable[[str, Change], None],
    places: Callable[[frozenset[VirtualPlace]], None],
) -> dict[str, Callable[[], Awaitable[None]]]:
    """The sources by name, each to be run for ever; what they tell is handed on with the name.

    `places` gets where a cluster's services are reached, all of them whenever they change.
    """
    found: dict[str, Callable[[], Awaitable[None]]] = {}
    for path in dict.fromkeys(options.docker_sockets):
        kind = "podman" if "podman" in path.name else "docker"
        name = f"{kind}:{path}" if kind in found else kind
        found[name] = DockerDiscovery(partial(told, name), path).run
    for path in dict.fromkeys(options.cri_sockets):
        name = f"cri:{path}"
        found[name] = CriDiscovery(partial(told, name), path, cluster=options.cluster).run
    found |= _kubernetes(options, partial(told, "kubernetes"), places)
    return found


def _kubernetes(
    options: Options,
    told: Callable[[Change], None],
    places: Callable[[frozenset[VirtualPlace]], None],
) -> dict[str, Callable[[], Awaitable[None]]]:
    # Loaded only where there is a cluster.
    from cnnf.defender.discovery import kubernetes_access as access

    if options.kubeconfig is not None:
        way = partial(access.by_kubeconfig, options.kubeconfig)
    elif access.is_in_cluster(os.environ):
        way = partial(access.in_cluster, os.environ)
    else:
        return {}
    from cnnf.defender.discovery.kubernetes import KubernetesDiscovery

    # A kubelet registers its node by the host's name in small letters unless told otherwise.
    node = options.node or (options.host_name or socket.gethostname()).lower()
    cluster = KubernetesDiscovery(told, way, node=node, cluster=options.cluster, places=places)
    return {"kubernetes": cluster.run}
