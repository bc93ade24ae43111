"""The messages between Defender and Console.

A Defender posts `Batch`es and gets an `Ack`; the Console streams `Settings`. Both sides import
only this module, so either can be replaced, upgraded or tested alone. Times are whole milliseconds
since the epoch (UTC). Fields may be added with a default; none is renamed or reused.
"""

from typing import Literal

import msgspec

from cnnf.policy.rules import Policy

#: The version this program speaks, and the oldest one it still understands.
VERSION = 1
VERSION_OLDEST = 1

InstanceKind = Literal["container", "service"]
Protocol = Literal["tcp", "udp"]
Effect = Literal["allow", "alert", "prevent"]
RefuseWith = Literal["reset", "drop"]
Severity = Literal["info", "warning", "error"]


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An example of the processes behind a flow's local end; never a complete list."""

    pid: int
    executable: str = ""
    command: str = ""
    user: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One side of a flow: an address and, where this Defender knows it, its own instance.

    `address` is empty when the kernel counted the flow by service only (a service's source
    address may change while it lives). `names` are what the flow's source was told by DNS that the
    address is called, newest first; in lower case, and of what names of hosts consist of.
    """

    address: str = ""
    instance: str = ""
    names: tuple[str, ...] = ()


class Flow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened on one flow since it was last reported.

    `connections` counts attempts (SYNs; for UDP new conntrack entries). Of these `answered` got a
    SYN-ACK and `refused` a reset; what is neither had no answer by the time of the report, and an
    answer may come with a later one. `found` counts connections that were there already when the
    Defender started to look; they are reported once and are not attempts.

    `effect` is what was decided and `cause` by what (`rule:<name>`); both are empty where nothing
    but the default was. `cut` counts living connections that were ended because what allowed them
    no longer does. Attempts of one flow that were decided differently are reported apart.
    """

    source: Endpoint
    destination: Endpoint
    port: int
    protocol: Protocol = "tcp"
    connections: int = 0
    answered: int = 0
    refused: int = 0
    found: int = 0
    cut: int = 0
    effect: Effect | None = None
    cause: str = ""
    first_seen: int
    last_seen: int
    process: Process | None = None


class Published(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port of the host that leads to the instance's own port `to`; no address: on all of them."""

    address: str = ""
    port: int
    to: int
    protocol: Protocol = "tcp"


class Instance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One running container of an app, or this host's copy of a service.

    `id` is unique on its Defender: the container's id, or `service:<name>`. `name` is the image
    repository without tag in full form without the default registry (`shop/frontend`, `nginx`), or
    the service's name without `.service`. `stopped_at` is 0 while it runs.

    `ports` are ports of the host by which others reach it: where a service listens, what a
    container publishes. `workload` is what made it, by kind and name (`deployment/frontend`), `pod`
    the pod that it is part of. `host_network`: it has no address of its own but the host's.
    `state` is empty while it simply runs (`paused`, `restarting`).
    """

    id: str
    kind: InstanceKind
    name: str
    tag: str = ""
    digest: str = ""
    cluster: str = ""
    namespace: str = ""
    project: str = ""
    title: str = ""
    labels: dict[str, str] = {}
    addresses: list[str] = []
    ports: list[int] = []
    published: list[Published] = []
    workload: str = ""
    pod: str = ""
    host_network: bool = False
    state: str = ""
    health: str = ""
    restarts: int = 0
    pid: int = 0
    started_at: int = 0
    stopped_at: int = 0


class HostNetwork(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network of containers on a host, in CIDR form. `routed`: its addresses are meant to be seen
    elsewhere; otherwise they mean something on this host only, and others may use the same."""

    cidr: str
    routed: bool = False


class HostInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The host a Defender runs on."""

    name: str
    addresses: list[str] = []
    networks: list[HostNetwork] = []
    kernel: str = ""
    system: str = ""
    version: str = ""


class Condition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something about a Defender's health that a person should know; gone when no longer sent."""

    code: str
    severity: Severity
    message: str
    since: int


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the Console tells a Defender to do, whole each time; `generation` only grows.

    `udp` judges UDP too, once per conntrack entry. `refuse_with` says what a prevented client gets:
    a reset (ICMP for UDP) at once, or nothing. `cut` ends living connections that a change of the
    rules prevents.
    """

    generation: int
    containers: bool = False
    hosts: bool = False
    udp: bool = False
    refuse_with: RefuseWith = "reset"
    cut: bool = True


class PolicyNews(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which policy every Defender is to enforce: told on the stream at once and at each change.
    `generation` grows with each change, and is lower than before only where the Console has gone
    back to a backup. `digest` (of `compile_policy(policy)`, whatever has expired) is the same for
    policies that mean the same. The policy itself is fetched, since it may be large."""

    generation: int
    digest: str


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A generation of the policy in its YAML form, and, so that it need not be read, as what it
    says: 10,000 rules are read in 5 s and decoded in 0.05 s. Whoever takes it compares the digest,
    so that the two are the same wherever it matters."""

    generation: int
    digest: str
    text: str
    policy: Policy | None = None


class PolicyState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which generation of the policy a Defender enforces (0: none yet), and why not the newest that
    it was told of: `refused_generation` and the reason, both empty when it does. `failsafe` are the
    TCP ports of its host that are never refused, whatever a policy says."""

    generation: int = 0
    digest: str = ""
    refused_generation: int = 0
    refused: str = ""
    failsafe: tuple[int, ...] = (22,)


class Gap(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Batches that a Defender had to give up: there was no room for them while the Console was
    away, or what was kept on disk can't be read."""

    first: int
    last: int
    flows: int = 0


class SpoolState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a Defender keeps on disk for the Console: bytes used and allowed, and from when the
    oldest of it is (0: nothing is kept)."""

    bytes: int = 0
    bytes_max: int = 0
    oldest_at: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All a Defender has to say at once. Named `(defender, incarnation, sequence)`.

    The Defender's identity is not in here: it comes from its certificate only. `incarnation` is 32
    hex digits, drawn at process start; `sequence` counts from 1 without holes (a hole is announced
    by `gap`). `snapshot` says that `instances` is everything that runs, so whatever is missing has
    stopped; otherwise they are changes. `applied` is the settings generation in force, `policy`
    the policy's.
    """

    version: int = VERSION
    incarnation: str
    sequence: int
    sent_at: int
    host: HostInfo | None = None
    snapshot: bool = False
    instances: list[Instance] = []
    flows: list[Flow] = []
    conditions: list[Condition] = []
    applied: Settings | None = None
    policy: PolicyState | None = None
    gap: Gap | None = None
    spool: SpoolState | None = None


class Ack(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The Console has committed every batch of this incarnation up to `sequence`."""

    incarnation: str
    sequence: int


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A new Defender asks for its certificate: a single-use token and a PEM signing request."""

    token: str
    request: str
    host: str


class EnrolReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The Defender's certificate, the authority to trust, and where to send batches (HTTPS)."""

    defender: str
    certificate: str
    authority: str
    url: str


class RenewRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Defender asks for its next certificate, for a new key: a PEM signing request."""

    request: str


class RenewReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The next certificate. The one before is good until this one is used."""

    certificate: str


class Sought(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An end that a Defender met and does not know: `port` 0 where it connects from there, since
    its port says nothing; else the port that is connected to."""

    address: str
    port: int = 0
    protocol: Protocol = "tcp"


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is there? Asked at first sight, once for each end."""

    version: int = VERSION
    sought: list[Sought] = []


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who stands at an end: what rules select by. `name` as in `Instance`, or the host's."""

    kind: Literal["container", "service", "host"]
    name: str
    host: str = ""
    tag: str = ""
    digest: str = ""
    cluster: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everybody who may stand at an end; nobody: it is not protected by any Defender.

    `more` says that there are others than those named, so nothing holds for all of them. `leads_to`
    is the port of theirs that a published one leads to; 0 where it is the same.
    """

    address: str
    port: int = 0
    protocol: Protocol = "tcp"
    candidates: list[Known] = []
    more: bool = False
    leads_to: int = 0


class Answers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answers to a `Question`, true as of `generation`, which only grows.

    `public` are addresses on the internet that protected hosts have, as networks (CIDR); wider ones
    where they are many. Nobody else on the internet needs to be asked for.
    """

    generation: int
    answers: list[Answer] = []
    public: list[str] = []


class Stale(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Answers that are true no more, told to those who hold them; `everything`: all of them."""

    generation: int
    addresses: list[str] = []
    everything: bool = False
