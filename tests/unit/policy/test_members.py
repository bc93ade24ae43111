"""Who is in which objects: the same as whom a rule with the object is about."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import UNKNOWN, evaluate
from cnnf.policy.members import Members
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Policy, Rule
from tests.unit.policy.strategies import candidates, policies


@given(policies(), st.lists(candidates(), max_size=4))
def test_members_are_whom_a_rule_with_the_object_selects(
    policy: Policy, there: list[Candidate]
) -> None:
    members = Members(policy.objects)
    for number, one in enumerate(policy.objects):
        for candidate in there:
            assert bool(members.of(candidate) >> number & 1) is _selected(one, candidate)


def _selected(one: NetworkObject, candidate: Candidate) -> bool:
    """By the one rule that there is, in either list."""
    rule = Rule(name="to it", destination=(one.name,), effect="prevent")
    for lists in ({"containers": (rule,)}, {"hosts": (rule,)}):
        if lists.get("hosts") and one.kind == "image":
            continue
        compiled = compile_policy(Policy(objects=(one,), **lists))
        if evaluate(compiled, [UNKNOWN], [candidate], 80, "tcp").effect == "prevent":
            return True
    # A container is judged by its own list, which no rule about hosts can be in the way of.
    return False
