"""Bridge netfilter, switched on bridge by bridge: without it traffic within one is not seen.

Never the global sysctl: other bridges of the machine (virtual machines, say) are not ours.
"""

from collections.abc import Iterable
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError as RouteError

from cnnf.defender.kernel.errors import ProgrammingFailed

_GLOBAL = {
    "br_nf_call_iptables": Path("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    "br_nf_call_ip6tables": Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
}


def supported() -> bool:
    """Does this kernel have bridge netfilter (br_netfilter)?"""
    return all(path.exists() for path in _GLOBAL.values())


def any_present() -> bool:
    """Is there any bridge here, so that packets within a network may pass over it?

    True when it can't be told: the rules for bridged packets then only cost something.
    """
    try:
        with IPRoute() as route:
            return bool(route.link_lookup(kind="bridge"))
    except (RouteError, OSError):
        return True


def switch_on(bridge: str) -> tuple[str, ...]:
    """Let this bridge's packets meet netfilter; returns what had to be changed, for `restore`.

    Raises ProgrammingFailed when there is no such bridge or the kernel refuses.
    """
    wanted = [name for name, path in _GLOBAL.items() if not _is_one(path)]
    if not wanted:
        return ()
    try:
        with IPRoute() as route:
            index, current = _bridge(route, bridge)
            changed = tuple(name for name in wanted if not current.get(name))
            if changed:
                route.link("set", index=index, kind="bridge", **dict.fromkeys(changed, 1))
            return changed
    except (RouteError, OSError) as error:
        raise ProgrammingFailed(f"bridge {bridge}: switching netfilter on: {error}") from error


def restore(bridge: str, changed: Iterable[str]) -> None:
    """Switch off what `switch_on` changed; a bridge that is gone is fine. Raises as above."""
    names = [name for name in changed if name in _GLOBAL]
    if not names:
        return
    try:
        with IPRoute() as route:
            if not route.link_lookup(ifname=bridge):
                return
            index, _ = _bridge(route, bridge)
            route.link("set", index=index, kind="bridge", **dict.fromkeys(names, 0))
    except (RouteError, OSError) as error:
        raise ProgrammingFailed(f"bridge {bridge}: restoring: {error}") from error


def _bridge(route: IPRoute, name: str) -> tuple[int, dict[str, int]]:
    found = route.link_lookup(ifname=name)
    if not found:
        raise ProgrammingFailed(f"bridge {name}: there is no such interface")
    index = int(found[0])
    link = next(iter(route.get_links(index)))
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info is not None else None
    if data is None or info.get_attr("IFLA_INFO_KIND") != "bridge":
        raise ProgrammingFailed(f"{name} is no bridge")
    return index, {
        "br_nf_call_iptables": data.get_attr("IFLA_BR_NF_CALL_IPTABLES") or 0,
        "br_nf_call_ip6tables": data.get_attr("IFLA_BR_NF_CALL_IP6TABLES") or 0,
    }


def _is_one(path: Path) -> bool:
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False
