"""Which networks pods have: from network configurations (CNI) and what plugins write down.

The kernel asks about packets from and to container networks, so a pod's network has to be known
before the pod is. The plugins' manuals say where its subnets stand: in the configuration itself
(`host-local`, `static`), in flannel's `subnet.env`, in Calico's blackhole routes. A pod whose
address lies in none of these is taken by its address alone (`with_addresses`).
"""

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec

from cnnf.defender.core.containers import ContainerNetwork, clean_text
from cnnf.defender.discovery import limits
from cnnf.policy.addresses import parse_address

#: Where configurations lie, where the runtime does not tell them; the second is k3s'.
FOLDERS = (Path("/etc/cni/net.d"), Path("/var/lib/rancher/k3s/agent/etc/cni/net.d"))
FLANNEL = Path("/run/flannel/subnet.env")
ROUTES = (Path("/proc/net/route"), Path("/proc/net/ipv6_route"))

#: The bridge that a plugin makes unless told otherwise.
_BRIDGES = {"bridge": "cni0", "flannel": "cni0", "weave-net": "weave"}
#: Plugins whose pods' packets go past the host's own network: no hook sees them.
_PAST_THE_HOST = frozenset(("macvlan", "ipvlan", "host-device", "sriov", "vlan"))
#: `include/uapi/linux/route.h`: a route that refuses, as blackholes are shown.
_RTF_REJECT = 0x0200
#: IFNAMSIZ is 16 with the closing zero.
_INTERFACE_CHARS_MAX = 15

Subnet = IPv4Network | IPv6Network


class _Configured(msgspec.Struct):
    """An entry of containerd's `cniconfig`; the `Source` is the file's text."""

    source: str = msgspec.field(default="", name="Source")


class _Network(msgspec.Struct):
    config: _Configured | None = msgspec.field(default=None, name="Config")


class _Told(msgspec.Struct):
    networks: list[_Network] | None = msgspec.field(default=None, name="Networks")


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugins have written down outside of their configurations: flannel's variables,
    the subnets that are routed into nothing unless an address of theirs has a route."""

    flannel: str = ""
    blackholes: tuple[Subnet, ...] = ()


def sources_from(told: str) -> list[str]:
    """The configurations in containerd's own description; none where it is another runtime's."""
    try:
        answer = msgspec.json.decode(told or "{}", type=_Told)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    entries = (answer.networks or ())[: limits.CNI_FILES_MAX]
    return [entry.config.source for entry in entries if entry.config and entry.config.source]


def sources_in(folder: Path) -> list[str]:
    """The texts of a folder's configurations, in the order that plugins are tried in."""
    try:
        found = sorted(
            path for path in folder.iterdir() if path.suffix in (".conflist", ".conf", ".json")
        )
    except OSError:
        return []
    return [text for path in found[: limits.CNI_FILES_MAX] if (text := _read(path))]


def look_around(flannel: Path = FLANNEL, routes: tuple[Path, Path] = ROUTES) -> Surroundings:
    """What plugins have written down on this host."""
    return Surroundings(
        flannel=_read(flannel),
        blackholes=(*_blackholes4(_read(routes[0])), *_blackholes6(_read(routes[1]))),
    )


def is_interface(name: str) -> bool:
    """Is there an interface of that name? A bridge comes with its first pod."""
    try:
        socket.if_nametoindex(name)
    except (OSError, ValueError):
        return False
    return True


def networks_from(
    sources: Iterable[str], around: Surroundings, present: Callable[[str], bool]
) -> tuple[ContainerNetwork, ...]:
    """The networks of pods in these configurations; one that can't be read is left out."""
    found: dict[str, ContainerNetwork] = {}
    for source in sources:
        try:
            network = _network(msgspec.json.decode(source), around, present)
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
            continue
        if network is not None:
            found.setdefault(network.id, network)
    return tuple(found.values())[: limits.NETWORKS_MAX]


def with_addresses(
    networks: tuple[ContainerNetwork, ...], addresses: Iterable[str]
) -> tuple[ContainerNetwork, ...]:
    """The networks, and one more of those addresses that lie in none of them."""
    known = [ip_network(text) for network in networks for text in network.subnets]
    alone: dict[int, list[Any]] = {4: [], 6: []}
    for text in addresses:
        address = ip_address(text)
        if not any(address in net for net in known if net.version == address.version):
            alone[address.version].append(ip_network(text))
    # Neighbours are told as one, since others have room for a few hundred.
    merged = [str(net) for one in alone.values() for net in collapse_addresses(sorted(one))]
    if not merged:
        return networks
    subnets = tuple(merged[: limits.CNI_ADDRESSES_MAX])
    return (
        *networks,
        ContainerNetwork(
            id="cni:addresses", name="addresses", driver="routed", subnets=subnets, routed=True
        ),
    )


def _network(
    configuration: Any, around: Surroundings, present: Callable[[str], bool]
) -> ContainerNetwork | None:
    """One configuration: a list of plugins, of which the first makes the interface, or one."""
    plugin = (configuration.get("plugins") or [configuration])[0]
    kind = clean_text(str(plugin.get("type", "")), 64)
    # Runtimes have one of their own for `lo`.
    if kind in ("", "loopback"):
        return None
    ranges = list(_ranges(plugin.get("ipam") or {}))
    bridge = plugin.get("bridge") or _BRIDGES.get(kind, "")
    if kind == "flannel":
        bridge = (plugin.get("delegate") or {}).get("bridge") or bridge
        ranges += _flannel(around.flannel)
    elif kind == "calico":
        ranges += [(str(net), "") for net in around.blackholes]
    subnets = dict.fromkeys(str(ip_network(subnet, strict=False)) for subnet, _ in ranges)
    gateways = dict.fromkeys(str(parse_address(gateway)) for _, gateway in ranges if gateway)
    name = clean_text(str(configuration.get("name", "")))
    bridge = str(bridge)[:_INTERFACE_CHARS_MAX]
    return ContainerNetwork(
        id=f"cni:{name}",
        name=name,
        driver="bridge" if bridge else kind if kind in _PAST_THE_HOST else "routed",
        bridge=bridge if bridge and present(bridge) else "",
        subnets=tuple(subnets)[: limits.CNI_SUBNETS_MAX],
        gateways=tuple(gateways)[: limits.CNI_SUBNETS_MAX],
        # Kubernetes' own rule for networks: pods reach each other without translation.
        routed=True,
    )


def _ranges(ipam: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Subnets and gateways: `host-local` has one or sets of several, `static` has addresses."""
    if "/" in str(ipam.get("subnet", "")):
        yield ipam["subnet"], str(ipam.get("gateway", ""))
    for alternatives in (ipam.get("ranges") or [])[: limits.CNI_SUBNETS_MAX]:
        for one in alternatives[: limits.CNI_SUBNETS_MAX]:
            # Calico writes `usePodCidr` for what only the cluster knows.
            if "/" in str(one.get("subnet", "")):
                yield one["subnet"], str(one.get("gateway", ""))
    for one in (ipam.get("addresses") or [])[: limits.CNI_SUBNETS_MAX]:
        yield one["address"], str(one.get("gateway", ""))


def _flannel(variables: str) -> list[tuple[str, str]]:
    """This host's subnets: the address in there is the bridge's own."""
    found = []
    for line in variables.splitlines():
        key, _, value = line.strip().partition("=")
        if key in ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"):
            found += [(text, text.partition("/")[0]) for text in value.split(",") if text]
    return found


def _blackholes4(table: str) -> list[Subnet]:
    """`/proc/net/route`: interface, destination, gateway, flags, …, mask; words in host order."""
    found: list[Subnet] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and int(fields[3], 16) & _RTF_REJECT:
            address, mask = (int(fields[at], 16).to_bytes(4, "little") for at in (1, 7))
            length = int.from_bytes(mask, "big").bit_count()
            if 8 <= length < 32:
                found.append(IPv4Network((address, length), strict=False))
    return found[: limits.CNI_SUBNETS_MAX]


def _blackholes6(table: str) -> list[Subnet]:
    """`/proc/net/ipv6_route`: destination, length, …, flags, interface."""
    found: list[Subnet] = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 9 and int(fields[8], 16) & _RTF_REJECT:
            length = int(fields[1], 16)
            # The kernel's own entry is for everything.
            if 8 <= length < 128:
                found.append(IPv6Network((bytes.fromhex(fields[0]), length), strict=False))
    return found[: limits.CNI_SUBNETS_MAX]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limits.CNI_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
