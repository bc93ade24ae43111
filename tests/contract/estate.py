"""A made-up shop that reports to a running Console, for developing and testing the pages.

    python -m tests.contract.estate --data-dir DIR [--once] [--big N] [--enable]

joins as two Defenders, tells of their containers and services, and posts flows every second until
stopped. Every few seconds something changes: an edge appears, an instance starts or stops.
"""

import argparse
import contextlib
import itertools
import random
import time
from pathlib import Path

from cnnf.cli.client import Client
from cnnf.protocol.messages import Effect, Endpoint, Flow, Instance, Process, Settings
from tests.contract.joined import Joined, now_ms

#: name, tag, replicas, port
APPS = (
    ("shop/frontend", "2.3.1", 2, 8080),
    ("shop/catalogue", "1.9.0", 1, 8081),
    ("shop/cart", "1.4.2", 1, 8082),
    ("shop/orders", "3.0.0", 1, 8083),
    ("shop/payments", "1.1.7", 1, 8084),
    ("shop/database", "15.4", 1, 5432),
    ("shop/cache", "7.2", 1, 6379),
    ("shop/backup", "0.4", 1, 9000),
)
#: source, target, port; `internet`, `10.9.0.7` and services are peers by address or name
EDGES = (
    ("internet", "shop/frontend", 8080),
    ("shop/frontend", "shop/catalogue", 8081),
    ("shop/frontend", "shop/cart", 8082),
    ("shop/frontend", "shop/orders", 8083),
    ("shop/catalogue", "shop/database", 5432),
    ("shop/catalogue", "shop/cache", 6379),
    ("shop/cart", "shop/cache", 6379),
    ("shop/orders", "shop/payments", 8084),
    ("shop/orders", "shop/database", 5432),
    ("shop/payments", "internet", 443),
    ("shop/orders", "10.9.0.7", 25),
    ("nginx", "shop/frontend", 8080),
)
SERVICES = (
    ("nginx", 80),
    ("sshd", 22),
    ("prometheus", 9090),
    ("node_exporter", 9100),
    ("postgresql", 5432),
    ("cron", 0),
)
SERVICE_EDGES = (
    ("internet", "nginx", 443),
    ("internet", "sshd", 22),
    ("prometheus", "node_exporter", 9100),
    ("prometheus", "nginx", 9113),
    ("nginx", "postgresql", 5432),
    ("cron", "10.9.0.7", 25),
    ("sshd", "internet", 443),
)
LATE = ("shop/cart", "shop/database", 5432)
#: What a rule decided on an edge, and by what; nothing was decided on the others.
DECIDED: dict[tuple[str, str, int], tuple[Effect, str]] = {
    ("shop/orders", "10.9.0.7", 25): ("alert", "rule:mail"),
    ("shop/catalogue", "shop/cache", 6379): ("prevent", "rule:cache is the cart's"),
    ("shop/orders", "shop/database", 5432): ("allow", "rule:database"),
    ("sshd", "internet", 443): ("prevent", "rule:no way out"),
}
OUTSIDE = ("93.184.216.34", "151.101.1.69", "2606:4700::6810:84e5")


def containers(host: int) -> list[Instance]:
    """The shop's containers on one host; the second host runs one more frontend."""
    made = []
    for number, (name, tag, replicas, port) in enumerate(APPS):
        if host and name not in ("shop/frontend", "shop/catalogue"):
            continue
        made += [
            Instance(
                id=f"{host}{number:x}{replica}" + "c0ffee" * 10,
                kind="container",
                name=name,
                tag=tag,
                digest="sha256:" + f"{number:x}" * 64,
                project="shop",
                title=f"shop-{name.split('/')[1]}-{replica + 1}",
                labels={"com.docker.compose.project": "shop", "tier": name.split("/")[1]},
                addresses=[f"172.18.{host}.{10 * number + replica + 2}"],
                ports=[port],
                pid=2000 + 10 * number + replica,
                started_at=now_ms() - 3_600_000,
            )
            for replica in range(1 if host else replicas)
        ]
    return made


def services(host: int) -> list[Instance]:
    """The services of one host."""
    return [
        Instance(
            id=f"service:{name}",
            kind="service",
            name=name,
            title=f"{name}.service",
            ports=[port] if port else [],
            pid=300 + number,
            started_at=now_ms() - 86_400_000,
        )
        for number, (name, port) in enumerate(SERVICES)
        if not host or name in ("nginx", "sshd", "node_exporter")
    ]


def endpoint(name: str, known: list[Instance], turn: int) -> Endpoint:
    """An end of an edge: an instance of that name, or a peer's address."""
    if name == "internet":
        return Endpoint(address=OUTSIDE[turn % len(OUTSIDE)])
    candidates = [i for i in known if i.name == name]
    if not candidates:
        return Endpoint(address=name if name[0].isdigit() else "10.77.0.9")
    chosen = candidates[turn % len(candidates)]
    address = chosen.addresses[0] if chosen.addresses else "10.0.0.10"
    return Endpoint(address=address, instance=chosen.id)


def flow(edge: tuple[str, str, int], known: list[Instance], turn: int, connections: int) -> Flow:
    """Some connections of one edge, just now."""
    source, target, port = edge
    process = None
    if source != "internet":
        program = source.rpartition("/")[2]
        process = Process(
            pid=2000 + turn % 50,
            executable=f"/usr/bin/{program}",
            command=f"{program} --serve --config /etc/{program}.conf",
            user="app",
        )
    now = now_ms()
    effect, cause = DECIDED.get(edge, (None, ""))
    prevented = effect == "prevent"
    return Flow(
        source=endpoint(source, known, turn),
        destination=endpoint(target, known, turn),
        port=port,
        connections=connections,
        answered=0 if prevented else connections,
        refused=connections if prevented else 0,
        effect=effect,
        cause=cause,
        first_seen=now - 900,
        last_seen=now,
        process=process,
    )


def estate_flows(known: list[Instance], turn: int) -> list[Flow]:
    """One second of the estate; the late edge joins after ten."""
    present = {instance.name for instance in known}
    edges = [*EDGES, *SERVICE_EDGES, *((LATE,) if turn >= 10 else ())]
    return [
        flow(edge, known, turn, random.randint(1, 9))
        for edge in edges
        if edge[0] in present or (edge[0] == "internet" and edge[1] in present)
    ]


def big_batch(number: int) -> tuple[list[Instance], list[Flow]]:
    """An estate of so many apps in four tiers, for looking at large maps."""
    apps = [
        Instance(
            id=f"big{i:05}" + "0" * 56,
            kind="container",
            name=f"team-{i % 20}/app-{i}",
            tag="1",
            project=f"team-{i % 20}",
            title=f"app-{i}",
            addresses=[f"172.20.{i // 250}.{i % 250 + 1}"],
            ports=[8000 + i % 100],
            started_at=now_ms(),
        )
        for i in range(number)
    ]
    tier = max(1, number // 4)
    flows = []
    for i in range(number - tier):
        for step in range(3):
            target = apps[min(number - 1, i + tier - i % tier + (i * 7 + step * 13) % tier)]
            flows.append(
                flow((apps[i].name, target.name, target.ports[0]), [apps[i], target], i, 1)
            )
    return apps, flows


def enable(api: Client) -> Settings:
    """Enable containers and hosts."""
    before = api.get("/settings")
    after = api.put("/settings", {"containers": True, "hosts": True, "version": before["version"]})
    return Settings(generation=after["version"], containers=True, hosts=True)


def report(joined: list[Joined], known: list[list[Instance]], turn: int) -> None:
    """One second of every host."""
    for number, (defender, instances) in enumerate(zip(joined, known, strict=True)):
        changed: list[Instance] = []
        if number == 0 and turn and turn % 20 == 0:
            # A third frontend comes and goes.
            first = next(i for i in instances if i.name == "shop/frontend")
            extra = Instance(
                id="f" * 64,
                kind="container",
                name=first.name,
                tag="2.4.0-rc1",
                project="shop",
                title="shop-frontend-3",
                addresses=["172.18.0.99"],
                ports=[8080],
                pid=4242,
                started_at=now_ms(),
                stopped_at=now_ms() if turn % 40 == 0 else 0,
            )
            changed = [extra]
        defender.post(
            defender.batch(
                instances=instances if turn == 0 else changed,
                snapshot=turn == 0,
                flows=estate_flows(instances, turn),
            )
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--once", action="store_true", help="one batch a host, then end")
    parser.add_argument("--big", type=int, default=0, help="also so many apps of a large estate")
    parser.add_argument("--enable", action="store_true", help="enable containers and hosts")
    arguments = parser.parse_args()
    with Client(arguments.data_dir) as api, contextlib.suppress(KeyboardInterrupt):
        if arguments.enable:
            enable(api)
        joined = [Joined(api, "web-1"), Joined(api, "web-2")]
        known = [containers(host) + services(host) for host in range(2)]
        if arguments.big:
            big = Joined(api, "big-1")
            instances, flows = big_batch(arguments.big)
            big.post(big.batch(instances=instances, snapshot=True, flows=flows))
        for turn in itertools.count():
            report(joined, known, turn)
            if arguments.once:
                break
            time.sleep(1)


if __name__ == "__main__":
    main()
