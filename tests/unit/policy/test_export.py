"""The form written again: what is written is read as the same policy, whatever is in it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.policy.export import write_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.objects import LabelTest, NetworkObject
from cnnf.policy.rules import Policy, Rule
from tests.unit.policy.strategies import policies
from tests.unit.policy.test_form import POLICY


@settings(max_examples=100)
@given(policies())
def test_what_is_written_is_read_again(policy: Policy) -> None:
    # Twice the same value in one list is no problem of a policy, but one of its form.
    plain = parse_policy(_without_doubles(policy), subject="p.yaml")
    assert parse_policy(write_policy(plain), subject="p.yaml") == plain


def _without_doubles(policy: Policy) -> str:
    objects = [
        NetworkObject(
            name=one.name,
            kind=one.kind,
            values=tuple(dict.fromkeys(one.values)),
            clusters=tuple(dict.fromkeys(one.clusters)),
            namespaces=tuple(dict.fromkeys(one.namespaces)),
            hosts=tuple(dict.fromkeys(one.hosts)),
            labels=one.labels,
        )
        for one in policy.objects
    ]
    return write_policy(
        Policy(objects=tuple(objects), containers=policy.containers, hosts=policy.hosts)
    )


NAMES = st.text(min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and text.isprintable()
)
NOTES = st.text(max_size=40).filter(lambda text: text.replace("\n", " ").isprintable())
WORDS = st.text(min_size=1, max_size=20).filter(
    lambda text: text.isprintable() and " " not in text and not text.startswith("-")
)


@given(NAMES, NOTES, st.lists(WORDS, min_size=1, unique=True), NAMES, st.text(max_size=9))
def test_any_text_survives_being_written(
    name: str, note: str, values: list[str], key: str, label: str
) -> None:
    tests = (LabelTest(key=key, values=(label,)),) if label.isprintable() else ()
    policy = Policy(
        objects=(NetworkObject(name=f"o{name}", kind="host", values=tuple(values), labels=tests),),
        hosts=(Rule(name=name, source=(f"o{name}",), effect="alert", note=note),),
    )
    assert parse_policy(write_policy(policy), subject="p.yaml") == policy


def test_what_is_written_reads_well() -> None:
    assert write_policy(POLICY).splitlines()[-4:] == [
        "  containers:",
        (
            "    - {name: pay, source: [frontend], destination: [payments], "
            "ports: [443, 8000-8100], protocol: tcp, effect: allow}"
        ),
        (
            "    - {name: rest, source: [frontend], effect: prevent, enabled: false, "
            "note: 'not yet: ask Ann'}"
        ),
        "  hosts: []",
    ]
