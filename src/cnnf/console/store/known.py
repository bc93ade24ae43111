"""Who is there, as rules see them: asked when a policy is looked at as a whole."""

import json
from typing import Any

from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.core.quarantine import Target
from cnnf.policy.addresses import Address, parse_address
from cnnf.policy.endpoints import Candidate, Identity, sorted_labels

_INSTANCES = """
SELECT i.kind, n.name, i.tag, i.digest, h.name, n.cluster, n.namespace, i.labels, i.addresses
FROM instances i JOIN nodes n ON n.number = i.node JOIN hosts h ON h.defender = i.defender
WHERE i.stopped_at = 0 LIMIT ?
"""


def endpoints(connection: Connection) -> list[Candidate] | None:
    """Every instance that runs and every host, once for each of its addresses; None where there are
    more than `limits.KNOWN_ENDPOINTS_MAX`."""
    sql: Any = connection.connection.driver_connection
    found: list[Candidate] = []
    most = limits.KNOWN_ENDPOINTS_MAX
    for name, addresses in sql.execute("SELECT name, addresses FROM hosts"):
        found += _met(Identity(kind="host", name=name), addresses)
    for row in sql.execute(_INSTANCES, (most + 1,)):
        kind, name, tag, digest, host, cluster, namespace, labels, addresses = row
        identity = Identity(
            kind=kind,
            name=name,
            tag=tag,
            digest=digest,
            host=host,
            cluster=cluster,
            namespace=namespace,
            labels=sorted_labels(json.loads(labels)),
        )
        found += _met(identity, addresses)
        if len(found) > most:
            return None
    return found


def _met(identity: Identity, addresses: str) -> list[Candidate]:
    found = [
        Candidate(identity=identity, address=parse_address(one)) for one in json.loads(addresses)
    ]
    return found or [Candidate(identity=identity)]


def addresses(texts: list[str]) -> list[Address | None]:
    """A host's addresses but those that mean nothing elsewhere; None alone where it has none."""
    found = [parse_address(one) for one in texts]
    return [one for one in found if not one.is_loopback and not one.is_link_local] or [None]


def instances(connection: Connection, beginning: str, host: str) -> list[Target]:
    """Running instances whose id begins so, on this host ('' for any); a few of many."""
    sql: Any = connection.connection.driver_connection
    return [
        Target(
            kind="instance",
            name=name,
            container=kind == "container",
            cluster=cluster,
            namespace=namespace,
            host=host_name,
            instance=id_,
            # On the host's network it is met at the host's addresses, as others are.
            addresses=() if host_network else tuple(json.loads(addresses_)),
        )
        for kind, name, cluster, namespace, host_name, id_, addresses_, host_network in sql.execute(
            "SELECT i.kind, n.name, n.cluster, n.namespace, h.name, i.id, i.addresses, "
            "i.host_network FROM instances i JOIN nodes n ON n.number = i.node "
            "JOIN hosts h ON h.defender = i.defender WHERE i.stopped_at = 0 "
            "AND substr(i.id, 1, length(?1)) = ?1 AND (?2 = '' OR h.name = ?2) LIMIT 8",
            (beginning, host),
        )
    ]
