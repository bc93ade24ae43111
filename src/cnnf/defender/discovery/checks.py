"""Looks for `cnnf doctor` at what discovery needs: the v2 cgroup tree and a container engine."""

import asyncio
from pathlib import Path

from cnnf.defender.core.requirements import Check
from cnnf.defender.discovery.engine import Engine
from cnnf.defender.discovery.errors import EngineError
from cnnf.defender.discovery.services import cgroup2_mount


def check_cgroups() -> Check:
    """Where the v2 hierarchy is mounted, without which services are known by program only."""
    mount = cgroup2_mount()
    if mount is None:
        return Check(
            code="cgroup2",
            title="cgroup v2",
            state="warn",
            detail="not mounted: services of this host are known by their program only",
            mend="mkdir -p /sys/fs/cgroup/unified && "
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        )
    return Check(code="cgroup2", title="cgroup v2", state="ok", detail=f"mounted at {mount}")


def check_docker(socket: Path) -> Check:
    """Whether an engine answers that discovery understands; hosts without one are fine."""

    async def ask() -> None:
        async with Engine(socket) as engine:
            await engine.greet()

    try:
        asyncio.run(ask())
    except EngineError as error:
        mends = {
            "engine-absent": "where containers run: install and start Docker "
            "(apt-get install docker.io), or name its socket with --docker-socket",
            "engine-unsupported": "upgrade Docker to 19.03 or later",
        }
        return Check(
            code="docker",
            title="Docker",
            state="warn",
            detail=f"{error}; containers are known by address only",
            mend=mends.get(error.code, "start Docker: systemctl start docker"),
        )
    return Check(code="docker", title="Docker", state="ok", detail=f"answers at {socket}")
