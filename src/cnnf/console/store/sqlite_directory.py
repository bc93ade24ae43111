"""The directory as the store has it: read once, at start."""

import json
from typing import Any

import msgspec
from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.core.directory import Directory
from cnnf.protocol.messages import HostInfo, HostNetwork, Instance, Published

#: Generations that one life of the Console may use: a thousand changes a second for 50 days.
_LIFE = 1 << 32


def start(connection: Connection) -> int:
    """The generation that this life of the directory begins with, above all before."""
    sql: Any = connection.connection.driver_connection
    (starts,) = sql.execute(
        "INSERT INTO directory (id, starts) VALUES (1, 1) "
        "ON CONFLICT (id) DO UPDATE SET starts = starts + 1 RETURNING starts"
    ).fetchone()
    # Beyond what a JSON number holds (2 million starts) it stays where it is.
    generation: int = min(starts, (1 << 21) - 1) * _LIFE
    return generation


def load(connection: Connection, generation: int) -> Directory:
    """Everybody who is there, and who was a while ago. Raises SQLAlchemyError."""
    sql: Any = connection.connection.driver_connection
    directory = Directory(generation)
    residents: dict[str, list[Instance]] = {}
    (newest,) = sql.execute("SELECT coalesce(max(delivered_at), 0) FROM hosts").fetchone()
    for row in sql.execute(
        "SELECT i.defender, i.id, i.kind, n.name, n.cluster, n.namespace, i.tag, i.digest, "
        "i.labels, i.addresses, i.ports, i.published, i.host_network, i.started_at, i.stopped_at "
        "FROM instances i JOIN nodes n ON n.number = i.node "
        "WHERE i.stopped_at = 0 OR i.stopped_at > ? ORDER BY i.stopped_at",
        (newest - limits.DIRECTORY_FORMER_MS,),
    ):
        residents.setdefault(row[0], []).append(_instance(row))
    for defender, name, addresses, networks, delivered_at in sql.execute(
        "SELECT defender, name, addresses, networks, delivered_at FROM hosts"
    ):
        directory.tell(
            defender,
            HostInfo(
                name=name,
                addresses=json.loads(addresses),
                networks=msgspec.json.decode(networks, type=list[HostNetwork]),
            ),
            residents.get(defender, []),
            snapshot=False,
            sent_at=delivered_at,
        )
    directory.take_stale()
    return directory


def _instance(row: Any) -> Instance:
    (
        _, id_, kind, name, cluster, namespace, tag, digest, labels, addresses, ports, published,
        host_network, started_at, stopped_at,
    ) = row  # fmt: skip
    return Instance(
        id=id_,
        kind=kind,
        name=name,
        cluster=cluster,
        namespace=namespace,
        tag=tag,
        digest=digest,
        labels=json.loads(labels),
        addresses=json.loads(addresses),
        ports=json.loads(ports),
        published=msgspec.json.decode(published, type=list[Published]),
        host_network=bool(host_network),
        started_at=started_at,
        stopped_at=stopped_at,
    )
