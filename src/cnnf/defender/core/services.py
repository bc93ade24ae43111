"""The name of a host's service from what is known of one of its processes.

The packet loop names by cgroup alone; discovery adds program and command line. The order is: the
container whose cgroup it is, the systemd unit, what an interpreter runs, the program. A service is
the same on every host, so instances of a template (`backup@monday.service`) are one service
(`backup`), and versions in a jar's name do not count.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from cnnf.defender.core.containers import clean_text
from cnnf.defender.core.programs import program_name
from cnnf.protocol.limits import NAME_CHARS_MAX

#: What comes before the name of a unit of a user's own manager: whoever may log in may make one
#: called `nginx`, and that is not the host's `nginx`.
USER_UNIT = "user:"

# docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>, libpod-<id>.scope, or the bare id of
# engines that use cgroupfs. A monitor (crio-conmon-<id>.scope) lives outside of its container.
_CONTAINER = re.compile(r"(?:(?P<engine>[a-z][a-z0-9-]*)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?\Z")
#: Containers that are called otherwise: LXC and Incus (`lxc.payload.web`, formerly `lxc/web`),
#: nspawn (`systemd-nspawn@web.service/payload`, `machine-web.scope/payload`), and whatever else
#: lies below the directories that engines keep for containers (a build of Docker's, say).
_LXC = re.compile(r"lxc\.payload\.(?P<name>.+)\Z")
_NSPAWN = re.compile(r"(?:systemd-nspawn@(?P<unit>.+)\.service|machine-(?P<name>.+)\.scope)\Z")
_ENGINES = {
    "docker": "docker",
    "lxc": "lxc",
    "libpod_parent": "podman",
    "kubepods": "kubernetes",
    "kubepods.slice": "kubernetes",
    "buildkit": "buildkit",
}
_MONITORS = ("conmon", "monitor")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
#: Units that a desktop makes for what a user starts, called after bus connections and numbers.
_GENERATED = re.compile(r"(?:dbus-|app-.*@|run-|.*-\d+\Z)")


class ServiceName(msgspec.Struct, frozen=True, kw_only=True):
    """A service's name and what it was taken from.

    `by` is "container" when the process belongs to one: then `container` is its id, and `name`
    is only the program's. An id that no engine of this host knows (`lxc:web`) names nobody; what
    matters is that it is no service of the host's.
    """

    name: str
    by: Literal["unit", "container", "program"]
    container: str = ""


def service_name(cgroup: str, executable: str, command: Sequence[str] = ()) -> ServiceName:
    """Name a process by its v2 cgroup path, the path of its program and its arguments.

    Any of them may be empty. Never fails: with nothing known the name is `unknown`.
    """
    container = container_of(cgroup)
    if container:
        name = program_name(executable, command)
        return ServiceName(name=name, by="container", container=container)
    unit = unit_of(cgroup)
    if unit:
        return ServiceName(name=unit, by="unit")
    return ServiceName(name=program_name(executable, command), by="program")


def container_of(cgroup: str) -> str:
    """The id of the container whose cgroup this is or lies in; '' when there is none.

    In a container within a container it is the outer one: that is whom this host's engine knows.
    A container without an id of 64 digits is called by what keeps it and its own name.
    """
    components = cgroup.strip("/").split("/")
    for component in components:
        match = _CONTAINER.match(component)
        if match:
            monitor = (match["engine"] or "").endswith(_MONITORS)
            return "" if monitor else match["id"]
    for component, inner in zip(components, [*components[1:], ""], strict=True):
        found = _otherwise(component, inner)
        if found:
            return found
    return ""


def _otherwise(component: str, inner: str) -> str:
    lxc = _LXC.match(component)
    if lxc:
        return f"lxc:{_unit_text(lxc['name'])}"
    nspawn = _NSPAWN.match(component)
    if nspawn and inner == "payload":
        return f"nspawn:{_unit_text(nspawn['unit'] or nspawn['name'])}"
    if component in _ENGINES and inner:
        return f"{_ENGINES[component]}:{_unit_text(inner)}"
    return ""


def unit_of(cgroup: str) -> str:
    """The service's unit that this cgroup is or lies in, without suffix and instance; '' if none.

    Whatever a unit keeps below its own cgroup (delegation) is its. Login sessions and other scopes
    are no services, nor is the first process by itself (`init.scope`): what runs there is known by
    its program. Units of a user's own manager are called `user:NAME`.
    """
    before = ""
    components = [one for one in cgroup.split("/") if one and not one.endswith(".slice")]
    if components and components[0].startswith("user@") and components[0].endswith(".service"):
        before, components = USER_UNIT, components[1:]
    if not components:
        return ""
    first = components[0]
    if first.startswith("openrc.") and not before:
        return _unit_text(first.removeprefix("openrc."))
    if not first.endswith(".service") or (before and _GENERATED.match(first[:-8])):
        return ""
    name = _unit_text(first.removesuffix(".service").partition("@")[0])
    return f"{before}{name}"[:NAME_CHARS_MAX] if name else ""


def _unit_text(text: str) -> str:
    # systemd writes `\x2d` for a character that its own grammar uses.
    plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return clean_text(plain, NAME_CHARS_MAX)
