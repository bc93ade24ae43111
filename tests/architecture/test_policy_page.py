"""The page about policies says what is so: its examples are read, its tables are tried."""

import re
from itertools import pairwise
from typing import get_args

import pytest

from cnnf.policy import form, limits
from cnnf.policy.addresses import INSIDE_NETWORKS
from cnnf.policy.analysis import Kind
from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import container_identity
from cnnf.policy.errors import InvalidFormError
from cnnf.policy.evaluation import evaluate
from cnnf.policy.flows import FLOW_KEYS, parse_flows
from cnnf.policy.objects import KINDS, NetworkObject
from cnnf.policy.rules import EFFECTS, PROTOCOLS, Policy, Rule
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "operating" / "policy.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
IMAGES = re.findall(
    r"^\| `(.+)` \| (.+) \| (.+) \|$",
    PAGE.partition("| value | selects |")[2].partition("\n\n")[0],
    re.MULTILINE,
)
LIMITS = [
    (name, int(value.replace(",", "")))
    for cells in re.findall(r"^\| (.*_MAX`.*) \| ([0-9, ]+) \|$", PAGE, re.MULTILINE)
    for name, value in zip(
        re.findall(r"`([A-Z_]+_MAX)`", cells[0]), cells[1].split(", "), strict=True
    )
]
#: Limits of the programs' memory, not of what a person writes.
INSIDE = {
    "SCALARS_CACHED_MAX",
    "DECISIONS_CACHED_MAX",
    "IDENTITIES_CACHED_MAX",
    "IDENTITY_SET_BYTES_MAX",
    "JUDGING_CACHED_MAX",
    "NAMES_MAX",
    "CANDIDATES_MAX",
    "ANALYSIS_STRETCHES_MAX",
}
#: Limits of Kubernetes' manifests, which are on the page about these.
ELSEWHERE = {"MANIFEST_DEPTH_MAX", "NETWORK_POLICY_PAIRS_MAX"}

REFUSED = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: frontend, type: images, values: [shop/frontend]}
  - {name: shop, type: image, values: ["shop/*"]}
rules:
  containers: [{name: r, source: [Shop], ports: [80], effect: deny}]
"""


def test_the_examples_are_policies() -> None:
    policies = [text for text in EXAMPLES if text.startswith("apiVersion")]
    assert len(policies) == 2
    for text in policies:
        assert compile_policy(form.parse_policy(text, subject="policy.md")).rules


def test_the_example_of_flows_is_judged_as_it_says() -> None:
    (text,) = (text for text in EXAMPLES if not text.startswith("apiVersion"))
    compiled = compile_policy(form.parse_policy(EXAMPLES[0], subject="policy.md"))
    for flow in parse_flows(text, subject="policy.md"):
        decision = evaluate(compiled, [flow.source], [flow.destination], flow.port, flow.protocol)
        assert flow.expected is not None
        assert decision.effect == flow.expected.effect
        assert flow.expected.cause in ("", decision.cause)


def test_every_finding_is_explained() -> None:
    assert [kind for kind in get_args(Kind) if f"| `{kind}` |" not in PAGE] == []


def test_every_word_of_the_form_is_explained() -> None:
    words = {*form.KEYS, *FLOW_KEYS, *KINDS, *EFFECTS, *PROTOCOLS, "internet"}
    assert [word for word in words if not re.search(rf"`{word}`|\b{word}: ", PAGE + " ")] == []
    assert [network for network in INSIDE_NETWORKS if network not in PAGE] == []


@pytest.mark.parametrize(("value", "selected", "others"), IMAGES, ids=[one[0] for one in IMAGES])
def test_image_values_select_what_the_table_says(value: str, selected: str, others: str) -> None:
    compiled = compile_policy(
        Policy(
            objects=(NetworkObject(name="o", kind="image", values=(value,)),),
            containers=(Rule(name="r", source=("o",), effect="alert"),),
        )
    )
    for cell, expected in ((selected, 1), (others, 0)):
        for reference in re.findall(r"`([^`]+)`", cell):
            assert compiled.selected(container_identity(reference)).source == expected, reference


def test_the_table_of_image_values_is_seen() -> None:
    assert len(IMAGES) == 6


def test_problems_look_as_they_are_shown() -> None:
    with pytest.raises(InvalidFormError) as caught:
        form.parse_policy(REFUSED, subject="policy.yaml")
    assert str(caught.value) in PAGE


def test_every_limit_is_stated() -> None:
    told = {name for name in vars(limits) if name.endswith("_MAX")} - INSIDE - ELSEWHERE
    assert dict(LIMITS) == {name: getattr(limits, name) for name in told}


def test_headings_are_listed() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    listed = [PAGE.index(f"- [{heading}](#") for heading in headings]
    assert all(one < other for one, other in pairwise(listed))


def test_limits_of_manifests_are_stated_on_their_page() -> None:
    page = (ROOT / "docs" / "operating" / "networkpolicy.md").read_text("utf-8")
    for name in ELSEWHERE:
        assert re.search(rf"`{name}`\) \| {getattr(limits, name):,} \|", page), name
