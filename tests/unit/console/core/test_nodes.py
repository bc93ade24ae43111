"""Nodes keep their ids whatever else changes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cnnf.console.core import nodes

parts = st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


def test_ids_are_what_they_were() -> None:
    # History is kept under these: changing how they are made would lose it.
    assert nodes.app("shop/frontend").id == "app:bbc00bf4a2020b9d"
    assert nodes.service("nginx").id == "service:6eae3261f605b66e"
    assert nodes.unmanaged("fd00::1").id == "unmanaged:fd00::1"
    assert nodes.INTERNET.id == "internet"


@given(parts, parts, parts)
def test_ids_go_into_a_path_as_they_are(name: str, cluster: str, namespace: str) -> None:
    made = nodes.app(name, cluster=cluster, namespace=namespace)
    assert re.fullmatch(r"app:[0-9a-f]{16}", made.id)
    assert re.fullmatch(r"service:[0-9a-f]{16}", nodes.service(name).id)


@given(st.tuples(parts, parts, parts), st.tuples(parts, parts, parts))
def test_different_keys_have_different_ids(
    one: tuple[str, str, str], two: tuple[str, str, str]
) -> None:
    ids = [nodes.app(n, cluster=c, namespace=s).id for n, c, s in (one, two)]
    assert (ids[0] == ids[1]) == (one == two)


def test_a_host_is_its_defenders() -> None:
    assert nodes.host("d1", "web").id == nodes.host("d1", "renamed").id
    assert nodes.host("d1", "web").id != nodes.host("d2", "web").id
    assert nodes.host("d1", "").name == "d1"
