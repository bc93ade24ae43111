"""Every table of the Console's database, as the newest migration leaves it.

Control data and flow history share one SQLite file, so that one commit covers both. Times are
milliseconds since the epoch. Secrets are kept as hashes only.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# -- control data ------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password", Text, nullable=False),  # argon2
    Column("role", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
)
sessions = Table(
    "sessions",
    metadata,
    Column("id", LargeBinary, primary_key=True),  # SHA-256 of the cookie
    Column("user", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("used_at", Integer, nullable=False),
)
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", LargeBinary, primary_key=True),  # SHA-256 of the token
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
)
join_tokens = Table(
    "join_tokens",
    metadata,
    Column("id", LargeBinary, primary_key=True),  # SHA-256 of the token's secret
    Column("created_by", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
)
defenders = Table(
    "defenders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),  # SHA-256 of the certificate
    # The certificate it was given to follow that one, until it is used.
    Column("fingerprint_next", LargeBinary, nullable=True),
    Column("expires_at", Integer, nullable=False, server_default=text("0")),
    Column("expires_next", Integer, nullable=False, server_default=text("0")),
    Column("enrolled_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False, default=0),
    Column("sent_at", Integer, nullable=False, default=0),
    Column("version", Text, nullable=False, default=""),
    Column("kernel", Text, nullable=False, default=""),
    Column("system", Text, nullable=False, default=""),
    Column("applied", JSON, nullable=True),
    Column("conditions", JSON, nullable=False, default=list),
    Column("addresses", JSON, nullable=False, server_default="[]"),
    Column("spool", JSON, nullable=True),
    Column("policy", JSON, nullable=True),  # what it enforces, as last told
)
settings = Table(
    "settings",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("containers", Boolean, nullable=False),
    Column("hosts", Boolean, nullable=False),
    Column("udp", Boolean, nullable=False, server_default=text("0")),
    Column("refuse_with", Text, nullable=False, server_default="reset"),
    Column("cut", Boolean, nullable=False, server_default=text("1")),
)
#: Every version of the policy, the newest in force; see `store/policies.py` for `base` and `body`.
policies = Table(
    "policies",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("base", Integer, nullable=False),  # the version that `body` is a difference to, or 0
    Column("body", LargeBinary, nullable=False),  # zstd
    Column("rules", Integer, nullable=False),
    Column("objects", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
)
#: Enabled rules of the version in force, and since when there is one of that name.
rules_in_force = Table(
    "rules_in_force",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("since", Integer, nullable=False),
    sqlite_with_rowid=False,
)
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
)

# -- flow history ------------------------------------------------------------------------------

hosts = Table(
    "hosts",
    metadata,
    Column("defender", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("addresses", JSON, nullable=False),
    Column("heard_at", Integer, nullable=False),  # arrival of the last batch
    Column("told_at", Integer, nullable=False),  # the newest `sent_at` that spoke of instances
    Column("unknown_instances", Integer, nullable=False),
    Column("networks", JSON, nullable=False, server_default="[]"),
    # The newest `sent_at` of all, and when it was heard of again after it had been away.
    Column("delivered_at", Integer, nullable=False, server_default=text("0")),
    Column("returned_at", Integer, nullable=False, server_default=text("0")),
)
marks = Table(
    "marks",
    metadata,
    Column("defender", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)
gaps = Table(
    "gaps",
    metadata,
    Column("defender", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    Column("flows", Integer, nullable=False),
    Column("at", Integer, nullable=False),
    sqlite_with_rowid=False,
)
nodes = Table(
    "nodes",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("namespace", Text, nullable=False),
)
Index("nodes_kind", nodes.c.kind)
instances = Table(
    "instances",
    metadata,
    Column("defender", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("node", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("addresses", JSON, nullable=False),
    Column("ports", JSON, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Integer, nullable=False),
    Column("stopped_at", Integer, nullable=False),
    Column("published", JSON, nullable=False, server_default="[]"),
    Column("host_network", Boolean, nullable=False, server_default=text("0")),
    Column("workload", Text, nullable=False, server_default=""),
    Column("pod", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False, server_default=""),
    Column("health", Text, nullable=False, server_default=""),
    Column("restarts", Integer, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)
Index("instances_node", instances.c.node)
Index("instances_stopped", instances.c.stopped_at)
#: What the Defenders of both ends told of one port, as far as it may still meet; see
#: `core/ledger.py`. 0 in `due_at`, `ready_at` and `unsure_at`: nothing waits.
ledger = Table(
    "ledger",
    metadata,
    Column("source", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("port", Integer, primary_key=True),
    Column("protocol", Text, primary_key=True),
    Column("account", LargeBinary, nullable=False),  # MessagePack
    Column("due_at", Integer, nullable=False),  # credited then in any case, by the Console's time
    Column("ready_at", Integer, nullable=False),  # so far the source's Defender has to deliver
    Column("unsure_at", Integer, nullable=False),  # so far the destination's has to
    Column("touched_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("ledger_due", ledger.c.due_at)
Index("ledger_ready", ledger.c.source, ledger.c.ready_at)
Index("ledger_unsure", ledger.c.destination, ledger.c.unsure_at)
Index("ledger_touched", ledger.c.touched_at)
#: How often the directory was started: its generations grow from there.
directory = Table(
    "directory",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("starts", Integer, nullable=False),
)
edges = Table(
    "edges",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("source", Integer, nullable=False),
    Column("target", Integer, nullable=False),
    Column("port", Integer, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("first_seen", Integer, nullable=False),
    Column("last_seen", Integer, nullable=False),
    UniqueConstraint("source", "target", "port", "protocol"),
)
Index("edges_target", edges.c.target)
Index("edges_last_seen", edges.c.last_seen)


def _buckets(name: str) -> Table:
    # The start comes first: Radar reads a range of time over all edges.
    table = Table(
        name,
        metadata,
        Column("start", Integer, primary_key=True),
        Column("edge", Integer, primary_key=True),
        Column("connections", Integer, nullable=False),
        Column("found", Integer, nullable=False),
        Column("first_seen", Integer, nullable=False),
        Column("last_seen", Integer, nullable=False),
        Column("answered", Integer, nullable=False, server_default=text("0")),
        Column("refused", Integer, nullable=False, server_default=text("0")),
        # The most severe decision: its place in `VERDICTS`, and what decided it.
        Column("verdict", Integer, nullable=False, server_default=text("0")),
        Column("cause", Text, nullable=False, server_default=""),
        sqlite_with_rowid=False,
    )
    Index(f"{name}_edge", table.c.edge)
    return table


minutes = _buckets("minutes")
hours = _buckets("hours")
days = _buckets("days")
edge_peers = Table(
    "edge_peers",
    metadata,
    Column("edge", Integer, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("seen_at", Integer, nullable=False),
    # What it was called by those who connected, the newest first.
    Column("names", JSON, nullable=False, server_default="[]"),
    sqlite_with_rowid=False,
)
edge_processes = Table(
    "edge_processes",
    metadata,
    Column("edge", Integer, primary_key=True),
    Column("side", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("executable", Text, primary_key=True),
    Column("command", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("key", LargeBinary, nullable=False),  # equal for repeats
    Column("pair", LargeBinary, nullable=False),  # equal for repeats on any port
    Column("version", Integer, nullable=False),  # grows with each change of any event
    Column("kind", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("source", JSON, nullable=False),
    Column("destination", JSON, nullable=False),
    Column("names", Text, nullable=False),  # names and addresses of both ends, for searching
    Column("port", Integer, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("first_seen", Integer, nullable=False),
    Column("last_seen", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("cut", Integer, nullable=False),
    Column("defender", Text, nullable=False),
    # An id is never given to another event, even when the newest was deleted.
    sqlite_autoincrement=True,
)
Index("events_key", events.c.key, events.c.last_seen)
Index("events_pair", events.c.pair, events.c.last_seen)
Index("events_version", events.c.version)
Index("events_last_seen", events.c.last_seen, events.c.number)
#: How often each rule decided, by day (UTC), told by the Defender of the source (or the only one),
#: and by that of the destination.
rule_hits = Table(
    "rule_hits",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("told", Integer, nullable=False),
    Column("claimed", Integer, nullable=False),
    Column("last_hit", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("rule_hits_day", rule_hits.c.day)
