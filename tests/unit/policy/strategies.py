"""Random policies, and random endpoints that these policies have something to say about.

Strategies are made once: making them anew for each draw takes longer than drawing.
"""

from functools import cache
from ipaddress import ip_address

from hypothesis import strategies as st

from cnnf.policy.endpoints import Candidate, Identity, IdentityKind, sorted_labels
from cnnf.policy.objects import PROTECTED, LabelOperator, LabelTest, NetworkObject, ObjectKind
from cnnf.policy.rules import Effect, ListName, Policy, PortRange, Rule, RuleProtocol

SUBNETS = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.0.4",
    "10.1.0.3-10.1.0.200",
    "203.0.113.0/24",
    "203.0.113.7-203.0.113.7",
    "::/0",
    "fd00::/8",
    "2001:db8::1-2001:db8::ff",
)
ADDRESSES = (
    "10.1.0.4",
    "10.1.0.3",
    "10.255.255.255",
    "11.0.0.0",
    "203.0.113.7",
    "203.0.113.8",
    "::ffff:10.1.0.4",
    "fd00::1",
    "2001:db8::1",
    "2001:db8::100",
    "0.0.0.0",
    "255.255.255.255",
    "::",
)
IMAGES = (
    "*",
    "nginx",
    "docker.io/library/nginx",
    "ngin*:1*",
    "shop/*",
    "shop/frontend:canary",
    "*:canary",
    "*/frontend",
    "SHOP/frontend",
    "registry.example:5000/*",
    "registry.example:5000/shop/frontend:1.4",
    "docker.io/*",
)
REPOSITORIES = (
    "nginx",
    "docker.io/library/nginx",
    "shop/frontend",
    "docker.io/shop/frontend",
    "shop/cart",
    "registry.example:5000/shop/frontend",
)
NAMES = ("*", "web-*", "web-1", "*-1", "w*b*1", "db", "*b*", "WEB-2")
WORDS = ("web-1", "web-2", "db", "Web-1", "")
DNS = ("*", "*.pay.example", "api.pay.example", "*.Example", "other.test")
HOSTNAMES = ("api.pay.example", "pay.example", "API.pay.example.", "other.test")
LABELS = {"tier": ("web", "data"), "team": ("a", "b")}

#: When rules expire; `TIMES_MS` are before, between and after.
EXPIRIES_MS = (1_000, 86_400_000)
TIMES_MS = (0, 999, 1_000, 86_399_999, 86_400_000)

_VALUES: dict[ObjectKind, tuple[str, ...]] = {
    "subnet": SUBNETS,
    "dns": DNS,
    "image": IMAGES,
    "service": NAMES,
    "host": NAMES,
}
_OPERATORS: tuple[LabelOperator, ...] = ("in", "not in", "exists", "not exists")


_BOOLEANS = st.booleans()


@cache
def _some(known: tuple[str, ...], least: int, most: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(known), min_size=least, max_size=most)


@cache
@st.composite
def values(draw: st.DrawFn, known: tuple[str, ...], least: int = 1) -> tuple[str, ...]:
    """Some values and, where there are any, some that exclude."""
    included = draw(_some(known, least, 4))
    excluded = draw(_some(known, 0, 2)) if included else []
    return tuple(draw(st.permutations([*included, *(f"-{one}" for one in excluded)])))


@st.composite
def label_tests(draw: st.DrawFn) -> LabelTest:
    key = draw(st.sampled_from(tuple(LABELS)))
    operator = draw(st.sampled_from(_OPERATORS))
    if operator in ("exists", "not exists"):
        return LabelTest(key=key, operator=operator)
    chosen = draw(st.lists(st.sampled_from(LABELS[key]), min_size=1, max_size=2, unique=True))
    return LabelTest(key=key, operator=operator, values=tuple(chosen))


_LABEL_TESTS = label_tests()


def _form_key(test: LabelTest) -> tuple[str, str]:
    return test.key, "exists" if "exists" in test.operator else test.operator


_KINDS = st.sampled_from(tuple(_VALUES))
_TESTS = st.lists(_LABEL_TESTS, max_size=3, unique_by=_form_key)


@cache
@st.composite
def network_objects(draw: st.DrawFn, name: str) -> NetworkObject:
    kind = draw(_KINDS)
    found = NetworkObject(name=name, kind=kind, values=draw(values(_VALUES[kind])))
    if kind not in PROTECTED or draw(_BOOLEANS):
        return found
    tests = draw(_TESTS)
    tests.sort(key=lambda test: test.key)
    return NetworkObject(
        name=name,
        kind=kind,
        values=found.values,
        clusters=draw(values(NAMES, 0)),
        namespaces=draw(values(NAMES, 0)),
        hosts=draw(values(NAMES, 0)),
        labels=tuple(tests),
        addresses=draw(values(SUBNETS, 0)) if kind == "image" else (),
    )


PORTS = st.sampled_from((0, 1, 79, 80, 81, 443, 8000, 8100, 65535))


@st.composite
def port_ranges(draw: st.DrawFn) -> PortRange:
    low, high = sorted((draw(PORTS), draw(PORTS)))
    return low, high


_RANGES = st.lists(port_ranges(), max_size=3)
_EFFECTS: st.SearchStrategy[Effect] = st.sampled_from(("allow", "alert", "prevent"))
_PROTOCOLS: st.SearchStrategy[RuleProtocol] = st.sampled_from(("tcp", "udp", "any"))
_SWITCHES = st.integers(0, 4)
_OWNERS = st.sampled_from(("", "Ann", "team a"))
_EXPIRIES = st.sampled_from((None, None, None, *EXPIRIES_MS))


@cache
def _sides(usable: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(usable), max_size=3, unique=True)


@st.composite
def rules(draw: st.DrawFn, where: ListName, name: str, kinds: dict[str, ObjectKind]) -> Rule:
    """A rule that is right in its list: images are for containers, one side is protected."""
    usable = tuple(one for one in kinds if where == "containers" or kinds[one] != "image")
    deciding = {"image"} if where == "containers" else {"service", "host"}
    sides = _sides(usable)
    source, destination = tuple(draw(sides)), tuple(draw(sides))
    if not deciding & {kinds[one] for one in (*source, *destination)}:
        if draw(_BOOLEANS):
            source = ()
        else:
            destination = ()
    return Rule(
        name=name,
        effect=draw(_EFFECTS),
        source=source,
        destination=destination,
        ports=tuple(draw(_RANGES)),
        protocol=draw(_PROTOCOLS),
        enabled=draw(_SWITCHES) > 0,
        owner=draw(_OWNERS),
        expires_ms=draw(_EXPIRIES),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    objects = [draw(network_objects(f"o{at}")) for at in range(draw(st.integers(0, 6)))]
    kinds: dict[str, ObjectKind] = {one.name: one.kind for one in objects}
    kinds["internet"] = "subnet"
    return Policy(
        objects=tuple(objects),
        containers=tuple(
            draw(rules("containers", f"c{at}", kinds)) for at in range(draw(st.integers(0, 8)))
        ),
        hosts=tuple(draw(rules("hosts", f"h{at}", kinds)) for at in range(draw(st.integers(0, 4)))),
    )


@st.composite
def identities(draw: st.DrawFn) -> Identity:
    kind: IdentityKind = draw(st.sampled_from(("container", "container", "service", "host")))
    labels = {key: draw(st.sampled_from(LABELS[key])) for key in LABELS if draw(st.booleans())}
    words = st.sampled_from(WORDS)
    return Identity(
        kind=kind,
        name=draw(st.sampled_from(REPOSITORIES if kind == "container" else WORDS[:-1])),
        tag=draw(st.sampled_from(("", "latest", "1.4", "canary"))) if kind == "container" else "",
        host="" if kind == "host" else draw(words),
        cluster=draw(words),
        namespace=draw(words),
        labels=sorted_labels(labels),
    )


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    text = draw(st.sampled_from((None, *ADDRESSES)))
    address = None if text is None else ip_address(text)
    return Candidate(
        identity=draw(st.none() | identities()),
        address=address.packed if address and draw(st.booleans()) else address,
        names=tuple(draw(st.lists(st.sampled_from(HOSTNAMES), max_size=2))),
    )


SIDES = st.lists(candidates(), min_size=1, max_size=3)
