"""What a value of each kind selects."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.endpoints import Identity, container_identity, sorted_labels
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.images import full_pattern, full_repository
from cnnf.policy.objects import LabelTest, NetworkObject, ObjectKind
from cnnf.policy.patterns import PatternIndex, pattern
from cnnf.policy.rules import Policy, Rule

GLOBS = st.text(alphabet="ab*", max_size=8)
TEXTS = st.text(alphabet="ab", max_size=8)


def naive(glob: str, text: str) -> bool:
    return re.fullmatch(glob.lower().replace("*", ".*"), text) is not None


def compiled(*objects: NetworkObject) -> Compiled:
    """A policy that names each object as a source in a rule of its own."""
    rules = [Rule(name=one.name, source=(one.name,), effect="alert") for one in objects]
    return compile_policy(Policy(objects=objects, containers=tuple(rules)))


def selects(one: NetworkObject, who: Identity) -> bool:
    return bool(compiled(one).selected(who).source)


def image(*values: str, **narrowed: tuple[str, ...]) -> NetworkObject:
    return NetworkObject(name="o", kind="image", values=values, **narrowed)  # type: ignore[arg-type]


@given(GLOBS, TEXTS)
def test_a_pattern_matches_what_its_stars_stand_for(glob: str, text: str) -> None:
    assert pattern(glob).matches(text) is naive(glob, text)


@given(st.lists(GLOBS), TEXTS)
def test_the_index_finds_exactly_the_patterns_that_match(globs: list[str], text: str) -> None:
    index: PatternIndex[int] = PatternIndex()
    for place, glob in enumerate(globs):
        index.add(pattern(glob), place)
    assert sorted(index.find(text)) == [at for at, glob in enumerate(globs) if naive(glob, text)]


def test_no_pattern_takes_long() -> None:
    # As a regular expression this one would not end.
    assert not pattern("*a" * 250 + "b").matches("a" * 500)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("library/nginx", "docker.io/library/nginx"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx"),
        ("shop/frontend", "docker.io/shop/frontend"),
        ("docker.io/shop/frontend", "docker.io/shop/frontend"),
        ("localhost/frontend", "localhost/frontend"),
        ("registry.example:5000/a/b", "registry.example:5000/a/b"),
    ],
)
def test_names_are_completed(name: str, full: str) -> None:
    assert full_repository(name) == full
    assert full_repository(full) == full


def test_a_registry_with_capitals_is_no_path_of_the_default_one() -> None:
    assert full_repository("Registry/frontend") == "registry/frontend"


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("*", "*"),
        ("*/frontend", "*/frontend"),
        ("ngin*", "docker.io/library/ngin*"),
        ("shop/*", "docker.io/shop/*"),
        ("docker.io/*", "docker.io/*"),
        ("docker.io/ngin*", "docker.io/library/ngin*"),
        ("registry.*/a", "registry.*/a"),
        ("SHOP/Frontend", "docker.io/shop/frontend"),
    ],
)
def test_patterns_are_completed(written: str, full: str) -> None:
    assert full_pattern(written) == full


@pytest.mark.parametrize(
    ("values", "reference", "selected"),
    [
        (("nginx",), "nginx:1.25", True),
        (("nginx",), "docker.io/library/nginx", True),
        (("docker.io/library/nginx",), "nginx", True),
        (("NGINX",), "nginx", True),
        (("nginx",), "nginx-unprivileged", False),
        (("nginx",), "evil.example/nginx", False),
        (("nginx:1.*",), "nginx:1.25", True),
        (("nginx:1.*",), "nginx:2", False),
        (("nginx:latest",), "nginx", True),
        (("shop/frontend:*", "-*:canary"), "shop/frontend:1.4", True),
        (("shop/frontend:*", "-*:canary"), "shop/frontend:canary", False),
        (("-*:canary", "shop/frontend:canary"), "shop/frontend:canary", False),
        (("localhost:5000/a",), "localhost:5000/a:1", True),
        (("localhost:5000/a:2",), "localhost:5000/a:1", False),
        (("a@sha256:12*",), "a@sha256:1234", True),
        (("a@sha256:12*",), "a@sha256:34", False),
        (("a@sha256:12*",), "a:1", False),
    ],
)
def test_image_values(values: tuple[str, ...], reference: str, selected: bool) -> None:
    assert selects(image(*values), container_identity(reference)) is selected


@pytest.mark.parametrize(
    ("kind", "value", "who", "selected"),
    [
        ("service", "nginx", Identity(kind="service", name="nginx"), True),
        ("service", "nginx.service", Identity(kind="service", name="nginx"), True),
        ("service", "nginx", Identity(kind="service", name="nginx.service"), True),
        ("service", "nginx", Identity(kind="container", name="nginx"), False),
        ("service", "web-1", Identity(kind="host", name="web-1"), False),
        ("host", "web-*", Identity(kind="host", name="WEB-1"), True),
        ("host", "web-*", Identity(kind="service", name="nginx", host="web-1"), True),
        ("host", "web-*", Identity(kind="service", name="web-1", host="db"), False),
        ("host", "*", Identity(kind="service", name="nginx"), False),
        ("host", "*", Identity(kind="container", name="nginx", host="web-1"), False),
        ("image", "*", Identity(kind="service", name="nginx"), False),
    ],
)
def test_service_and_host_values(
    kind: ObjectKind, value: str, who: Identity, selected: bool
) -> None:
    one = NetworkObject(name="o", kind=kind, values=(value,))
    assert bool(compiled_for_hosts(one).selected(who).source) is selected


def compiled_for_hosts(one: NetworkObject) -> Compiled:
    rules = (Rule(name="r", source=("o",), effect="alert"),)
    if one.kind == "image":
        return compile_policy(Policy(objects=(one,), containers=rules))
    return compile_policy(Policy(objects=(one,), hosts=rules))


@pytest.mark.parametrize(
    ("narrowed", "selected"),
    [
        ({"clusters": ("c*",)}, True),
        ({"clusters": ("d",)}, False),
        ({"namespaces": ("prod", "test")}, True),
        ({"namespaces": ("*", "-PROD")}, False),
        ({"hosts": ("web-*",)}, True),
        ({"hosts": ("web-1",), "clusters": ("d",)}, False),
    ],
)
def test_an_object_is_narrowed(narrowed: dict[str, tuple[str, ...]], selected: bool) -> None:
    who = Identity(kind="container", name="a", cluster="c1", namespace="prod", host="web-1")
    assert selects(image("*", **narrowed), who) is selected


@pytest.mark.parametrize(
    ("test", "selected"),
    [
        (LabelTest(key="tier", values=("web",)), True),
        (LabelTest(key="tier", values=("data", "web")), True),
        (LabelTest(key="tier", values=("WEB",)), False),
        (LabelTest(key="team", values=("a",)), False),
        (LabelTest(key="tier", operator="not in", values=("web",)), False),
        (LabelTest(key="team", operator="not in", values=("a",)), True),
        (LabelTest(key="tier", operator="exists"), True),
        (LabelTest(key="team", operator="exists"), False),
        (LabelTest(key="tier", operator="not exists"), False),
        (LabelTest(key="team", operator="not exists"), True),
    ],
)
def test_labels(test: LabelTest, selected: bool) -> None:
    who = Identity(kind="container", name="a", labels=sorted_labels({"x": "y", "tier": "web"}))
    one = NetworkObject(name="o", kind="image", values=("*",), labels=(test,))
    assert selects(one, who) is selected


@pytest.mark.parametrize(
    ("names", "selected"),
    [
        (["api.pay.example"], True),
        (["API.Pay.Example."], True),
        (["pay.example"], False),
        (["old.pay.example"], False),
        (["api.pay.example", "old.pay.example"], False),
        ([], False),
    ],
)
def test_dns_values(names: list[str], selected: bool) -> None:
    pay = NetworkObject(name="pay", kind="dns", values=("*.Pay.example.", "-old.*"))
    assert bool(compiled(pay).selected_names(names).source) is selected


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (image(), "no values"),
        (image("-a"), "nothing but exclusions"),
        (image("a:"), "lacks a repository"),
        (image("a b"), "has a space"),
        (image("a" * 513), "at most 512"),
        (image("a", hosts=("-b",)), "nothing but exclusions"),
        (NetworkObject(name="o", kind="dns", values=("a",), hosts=("b",)), "`hosts` of a dns"),
        (NetworkObject(name="", kind="dns", values=("a",)), "name of 0 characters"),
        (NetworkObject(name="internet", kind="subnet", values=("::",)), "taken already"),
        (NetworkObject(name="o", kind="dns", values=(".",)), "names nothing"),
        (NetworkObject(name="o", kind="pod", values=("a",)), "write one of subnet"),  # type: ignore[arg-type]
        (
            NetworkObject(name="o", kind="host", values=("a",), labels=(LabelTest(key="k"),)),
            "`in` has the wrong values",
        ),
        (
            NetworkObject(
                name="o",
                kind="host",
                values=("a",),
                labels=(LabelTest(key="k", values=("a",)), LabelTest(key="k", values=("b",))),
            ),
            "the same test of one label twice",
        ),
    ],
)
def test_an_object_that_is_wrong_is_refused_with_its_name(one: NetworkObject, said: str) -> None:
    with pytest.raises(InvalidValueError, match=f"object '{one.name}': .*{said}"):
        compile_policy(Policy(objects=(one,)))
