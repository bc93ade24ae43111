"""Building, looking at and removing the estate, as the definition says."""

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from cnnf.cli.demo_estate import host
from cnnf.cli.demo_estate import state as states
from cnnf.cli.demo_estate.definition import (
    APPS,
    HOST_SERVICES,
    INTERNET_ADDRESS,
    LABEL,
    NETWORKS,
    PROJECT,
    App,
)
from cnnf.cli.demo_estate.engine import Engine
from cnnf.cli.demo_estate.image import find_busybox, pack
from cnnf.cli.demo_estate.scripts import container_script
from cnnf.cli.demo_estate.state import State
from cnnf.cli.failure import Failure

Progress = Callable[[str], None]

#: Everything of the estate in the engine has this label.
_LABEL = f"{LABEL}={PROJECT}"
_FILTER = msgspec.json.encode({"label": [_LABEL]}).decode()

#: Processes one container may have at once: the shell, its server, a call and some visitors.
_PIDS_MAX = 128


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One container of the estate."""

    name: str
    image: str
    state: str


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the host."""

    name: str
    running: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the estate stands. `complete` when all that the definition names runs."""

    running: bool
    complete: bool
    started_at: int = 0
    containers: list[ContainerStatus] = []
    services: list[ServiceStatus] = []
    internet: str = ""


def start(address: str, progress: Progress) -> None:
    """Build the estate, or raise Failure and leave nothing behind."""
    _need_root()
    busybox = find_busybox()
    with Engine(address) as engine:
        engine.greet()
        before = states.load()
        if before is not None and before.ready and states.is_alive(before.owner):
            raise Failure(
                f"the demo is already running (process {before.owner.pid})",
                hint="stop it there with Ctrl-C, or with: cnnf demo stop",
            )
        if before is not None or _containers(engine):
            progress("removing what an earlier run left behind")
            stop(address, progress)
        _refuse_foreign(engine)
        state = State(
            owner=states.this_process(), docker=address, started_at=time.time_ns() // 1_000_000
        )
        states.save(state)
        try:
            host.start_internet(state, busybox)
            for app in APPS:
                progress(f"image {app.image}")
                engine.import_image(app.image, pack(app, busybox.read_bytes()), _LABEL)
            for network in NETWORKS:
                progress(f"network {network}")
                body = {"Name": network, "CheckDuplicate": True, "Labels": _labels()}
                engine.post("/networks/create", body)
            for app in APPS:
                for index, name in enumerate(app.containers()):
                    progress(f"container {name} ({app.image})")
                    _start_container(engine, app, index, name)
            progress(f"services {', '.join(service.name for service in HOST_SERVICES)}")
            host.start_services(state, busybox, container_address(engine, "shop-database-1"))
            _check_complete(engine, state)
            state.ready = True
            states.save(state)
        except BaseException:
            stop(address, lambda _: None)
            raise


def stop(address: str, progress: Progress) -> bool:
    """Remove the estate or what is left of it; False when there was nothing.

    Raises Failure when something could not be removed.
    """
    _need_root()
    state = states.load()
    left: list[str] = []
    if state is not None:
        progress("stopping the host's services")
        left += host.stop_services(state)
    # Before the internet side: nobody may call its addresses once it is gone.
    with Engine(state.docker if state else address) as engine:
        found = _remove_from(engine, progress)
    if state is not None:
        progress("removing the internet side")
        left += host.stop_internet(state)
    if left:
        raise Failure("the demo could not be removed altogether: " + "; ".join(left))
    states.forget()
    return found or state is not None


def status(address: str) -> Status:
    """How the estate stands now. Raises Failure when the engine does not answer."""
    state = states.load()
    with Engine(state.docker if state else address) as engine:
        engine.greet()
        return _status(engine, state)


def running_state(address: str) -> State:
    """The state of a demo that runs. Raises Failure when none does."""
    state = states.load()
    if state is None or not state.ready or not status(address).running:
        raise Failure("the demo is not running", hint="start it in another terminal: cnnf demo")
    return state


def container_address(engine: Engine, name: str) -> str:
    """A container's first address. Raises Failure when it has none."""
    answer = engine.get(f"/containers/{name}/json")
    for place in ((answer or {}).get("NetworkSettings", {}).get("Networks") or {}).values():
        if place.get("IPAddress"):
            return str(place["IPAddress"])
    raise Failure(f"container {name} has no address: it did not stay up")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise Failure(
            "the demo needs root: it makes a network namespace and services of this host",
            hint="run it with sudo",
        )


def _labels(service: str = "") -> dict[str, str]:
    labels = {LABEL: PROJECT, "com.docker.compose.project": PROJECT}
    if service:
        labels["com.docker.compose.service"] = service
    return labels


def _refuse_foreign(engine: Engine) -> None:
    """Nothing of anybody else's is taken over or overwritten because it has the same name."""
    for app in APPS:
        image = engine.get(f"/images/{app.image}/json")
        if image is not None and (image["Config"].get("Labels") or {}).get(LABEL) != PROJECT:
            raise Failure(f"there is an image {app.image} that is not the demo's")
    for network in NETWORKS:
        if engine.get(f"/networks/{network}") is not None:
            raise Failure(f"there is a network {network} that is not the demo's")
    for name in (name for app in APPS for name in app.containers()):
        if engine.get(f"/containers/{name}/json") is not None:
            raise Failure(f"there is a container {name} that is not the demo's")


def _start_container(engine: Engine, app: App, index: int, name: str) -> None:
    exposed = f"{app.port}/tcp"
    bindings: dict[str, Any] = {}
    if app.published:
        bindings[exposed] = [{"HostIp": "127.0.0.1", "HostPort": str(app.published[index])}]
    body = {
        "Image": app.image,
        "Hostname": name,
        "Cmd": ["/bin/sh", "-c", container_script(app)],
        "ExposedPorts": {exposed: {}},
        "Labels": _labels(app.name),
        "HostConfig": {
            "NetworkMode": app.networks[0],
            "PortBindings": bindings,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": _PIDS_MAX,
        },
        "NetworkingConfig": {"EndpointsConfig": {app.networks[0]: {"Aliases": [app.name]}}},
    }
    made = engine.post("/containers/create", body, name=name)["Id"]
    for network in app.networks[1:]:
        join = {"Container": made, "EndpointConfig": {"Aliases": [app.name]}}
        engine.post(f"/networks/{network}/connect", join)
    engine.post(f"/containers/{made}/start")


def _containers(engine: Engine) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = engine.get("/containers/json", all="1", filters=_FILTER)
    return listed


def _remove_from(engine: Engine, progress: Progress) -> bool:
    """Remove what carries the label, callers before those they call; False if nothing did."""
    order = {name: place for place, app in enumerate(APPS) for name in app.containers()}
    containers = _containers(engine)
    containers.sort(key=lambda one: -order.get(one["Names"][0].lstrip("/"), 0))
    for container in containers:
        progress(f"removing {container['Names'][0].lstrip('/')}")
        engine.delete(f"/containers/{container['Id']}", force="1", v="1")
    networks = engine.get("/networks", filters=_FILTER)
    for network in networks:
        engine.delete(f"/networks/{network['Id']}")
    images = engine.get("/images/json", filters=_FILTER)
    for image in images:
        engine.delete(f"/images/{image['Id']}", force="1")
    return bool(containers or networks or images)


def _status(engine: Engine, state: State | None) -> Status:
    containers = [
        ContainerStatus(
            name=one["Names"][0].lstrip("/"), image=str(one["Image"]), state=str(one["State"])
        )
        for one in _containers(engine)
    ]
    containers.sort(key=lambda one: one.name)
    services = [
        ServiceStatus(
            name=service.name,
            running=state is not None and host.is_running(state, service.unit, service.name),
        )
        for service in HOST_SERVICES
    ]
    up = {one.name for one in containers if one.state == "running"}
    expected = {name for app in APPS for name in app.containers()}
    internet = state is not None and any(states.is_alive(p) for p in state.internet)
    return Status(
        running=bool(up),
        complete=up == expected and all(service.running for service in services) and internet,
        started_at=state.started_at if state else 0,
        containers=containers,
        services=services,
        internet=INTERNET_ADDRESS if internet else "",
    )


def _check_complete(engine: Engine, state: State) -> None:
    """Raise Failure when something that was started did not stay up."""
    now = _status(engine, state)
    if now.complete:
        return
    down = [one.name for one in now.containers if one.state != "running"]
    down += [service.name for service in now.services if not service.running]
    raise Failure(f"these did not stay up: {', '.join(down) or 'the internet side'}")
