"""Who is there, as rules see them: asked when a policy is looked at as a whole."""

import json
from typing import Any

from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.policy.addresses import parse_address
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
