"""Several sources tell of the same containers: one wins, the others add, none undoes another."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.containers import (
    Change,
    Container,
    ContainerChanged,
    ContainerGone,
    ContainerNetwork,
    EngineHealth,
    NetworksChanged,
    Pod,
    PodChanged,
    PodGone,
    PublishedPort,
    Snapshot,
)
from cnnf.defender.core.limits import ENDED_CONTAINERS_MAX
from cnnf.defender.core.sources import ORDER, Sources, enrich, merge
from tests.unit.defender.core.estate import SHOP, container

T = 1_000_000
ONE = "172.18.0.2"
CART = container("cart", ONE)
POD = Pod(
    uid="u1",
    namespace="prod",
    name="cart-7d9f-x",
    cluster="c1",
    workload="deployment/cart",
    labels={"tier": "back"},
    addresses=("10.244.0.7",),
    containers=("cart",),
)


def told(*changes: tuple[str, Change]) -> Sources:
    sources = Sources()
    for source, change in changes:
        sources.take(source, change, T)
    return sources


def test_a_snapshot_replaces_what_its_own_source_told() -> None:
    sources = told(
        ("docker", Snapshot(containers=(CART, container("web", "172.18.0.3")), networks=(SHOP,))),
        ("podman", Snapshot(containers=(container("db", "10.88.0.2"),))),
    )
    effects = sources.take("docker", Snapshot(containers=(CART,), networks=(SHOP,)), T + 1)
    assert [one.id for one in effects.put] == ["cart"]
    assert effects.gone == [("web", T + 1)]
    assert sources.container("db") is not None
    effects = sources.take("podman", Snapshot(), T + 2)
    assert effects.gone == [("db", T + 2)]
    assert sources.networks() == (SHOP,)


def test_networks_are_those_of_all_sources() -> None:
    other = ContainerNetwork(id="n9", name="podman", driver="bridge", bridge="podman0")
    sources = told(("docker", NetworksChanged(networks=(SHOP,))))
    assert sources.take("podman", NetworksChanged(networks=(other, SHOP)), T).networks
    assert {one.id for one in sources.networks()} == {"n1", "n9"}
    sources.take("docker", NetworksChanged(networks=()), T)
    assert {one.id for one in sources.networks()} == {"n1", "n9"}
    sources.take("podman", NetworksChanged(networks=()), T)
    assert sources.networks() == ()


def test_the_first_in_order_wins_whoever_told_first() -> None:
    theirs = msgspec.structs.replace(
        CART, image="k8s/name", tag="9", namespace="prod", labels={"app": "cart", "a": "theirs"}
    )
    ours = msgspec.structs.replace(CART, tag="2", labels={"a": "ours"})
    for order in (("docker", "kubernetes"), ("kubernetes", "docker")):
        says = {"docker": ours, "kubernetes": theirs}
        sources = told(*((name, ContainerChanged(container=says[name])) for name in order))
        found = sources.container("cart")
        assert found is not None
        assert (found.image, found.tag, found.namespace) == ("shop/cart", "2", "prod")
        assert found.labels == {"a": "ours", "app": "cart"}
    assert ORDER.index("cri") < ORDER.index("kubernetes")


def test_who_only_heard_of_it_does_not_bring_a_container_back() -> None:
    sources = told(
        ("cri", ContainerChanged(container=CART)),
        ("kubernetes", ContainerChanged(container=CART)),
    )
    effects = sources.take("cri", ContainerGone(id="cart", at=T + 5), T + 6)
    assert effects.gone == [("cart", T + 5)]
    # The status of its pod is seconds behind.
    assert sources.take("kubernetes", ContainerChanged(container=CART), T + 7).put == []
    assert sources.take("kubernetes", Snapshot(containers=(CART,)), T + 8).put == []
    assert sources.take("kubernetes", ContainerGone(id="cart", at=T + 9), T + 9).put == []
    # Who runs it knows that it runs again.
    assert [one.id for one in sources.take("cri", ContainerChanged(container=CART), T + 10).put]


def test_a_lesser_source_may_fall_silent() -> None:
    sources = told(
        ("cri", ContainerChanged(container=CART)),
        ("kubernetes", Snapshot(containers=(CART,), pods=(POD,))),
    )
    effects = sources.take("kubernetes", Snapshot(), T + 1)
    assert effects.gone == []
    assert [(one.id, one.pod) for one in effects.put] == [("cart", "")]


def test_a_pod_adds_what_its_containers_lack() -> None:
    sources = told(("kubernetes", PodChanged(pod=POD)))
    bare = msgspec.structs.replace(CART, attachments=(), labels={"from": "image", "tier": "none"})
    effects = sources.take("cri", ContainerChanged(container=bare), T)
    (found,) = effects.put
    assert (found.namespace, found.pod, found.cluster) == ("prod", "cart-7d9f-x", "c1")
    assert found.workload == "deployment/cart"
    assert found.labels == {"tier": "back", "from": "image"}
    assert found.addresses == ("10.244.0.7",)
    (bare_again,) = sources.take("kubernetes", PodGone(uid="u1"), T).put
    assert bare_again == bare
    # Later news of a pod reaches the containers that were told before it.
    (again,) = sources.take("kubernetes", PodChanged(pod=POD), T).put
    assert again == found


def test_a_container_belongs_to_the_pod_that_it_names() -> None:
    own = msgspec.structs.replace(CART, id="side", pod_uid="u1", namespace="said")
    sources = told(("cri", ContainerChanged(container=own)))
    (found,) = sources.take("kubernetes", PodChanged(pod=POD), T).put
    assert (found.id, found.pod, found.namespace) == ("side", "cart-7d9f-x", "said")
    # Its own addresses stay.
    assert found.addresses == (ONE,)


def test_a_container_without_processes_is_gone() -> None:
    sources = told(("docker", ContainerChanged(container=CART)))
    exited = msgspec.structs.replace(CART, state="exited")
    assert sources.take("docker", ContainerChanged(container=exited), T).gone == [("cart", T)]
    assert sources.take("docker", ContainerGone(id="cart", at=T), T).gone == []


def test_trouble_with_a_source_changes_nothing_of_what_it_told() -> None:
    sources = told(("docker", ContainerChanged(container=CART)))
    effects = sources.take("docker", EngineHealth(code="engine-refused", message="no"), T)
    assert effects == ([], [], False)
    assert sources.container("cart") == CART


def test_ends_that_are_kept_in_mind_are_bounded() -> None:
    sources = Sources()
    for number in range(ENDED_CONTAINERS_MAX + 10):
        one = container(f"c{number}")
        sources.take("docker", ContainerChanged(container=one), T)
        sources.take("docker", ContainerGone(id=one.id, at=T), T)
    assert len(sources._ended) == ENDED_CONTAINERS_MAX


def test_merging_adds_ports_and_a_place_in_the_network() -> None:
    port = PublishedPort(host_address="0.0.0.0", host_port=80, port=8080)
    bare = Container(id="cart", image="cart")
    full = msgspec.structs.replace(CART, published=(port,), pid=7)
    merged = merge(bare, full)
    assert (merged.image, merged.addresses, merged.published, merged.pid) == (
        "cart", (ONE,), (port,), 7,
    )  # fmt: skip
    hosted = msgspec.structs.replace(bare, host_network=True)
    assert merge(hosted, full).addresses == ()
    assert enrich(bare, msgspec.structs.replace(POD, host_network=True)).host_network


@given(
    st.lists(st.tuples(st.sampled_from(ORDER), st.sampled_from("abc"), st.booleans()), max_size=20)
)
def test_nobody_is_left_who_no_source_tells_of(script: list[tuple[str, str, bool]]) -> None:
    sources, now = Sources(), {source: set[str]() for source in ORDER}
    shown: set[str] = set()
    for source, name, runs in script:
        change: Change
        if runs:
            change = ContainerChanged(container=container(name))
            now[source].add(name)
        else:
            change = ContainerGone(id=name, at=T)
            now[source].discard(name)
        effects = sources.take(source, change, T)
        shown |= {one.id for one in effects.put}
        shown -= {gone for gone, _ in effects.gone}
        assert shown == {one for one in "abc" if sources.container(one) is not None}
        assert shown <= set().union(*now.values())
        # Who runs it is always believed.
        assert now["docker"] <= shown
