"""The form written again: what is written is read as the same policy, whatever is in it."""

from contextlib import suppress

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnf.policy.export import _dumped, _Unusual, _written, write_policy
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


ODD = st.sampled_from(
    ["yes", "No", "on", "null", "~", "1e3", "1.5", "0x1f", "1_000", "2001-01-01", "=", "<<", ".inf",
     "a b", "a - b", "- a", "12:30:45", "*x", "-*:c", "a:", "a: b", "@a", "...", "--- a", "y"]
)  # fmt: skip
TEXTS = ODD | st.text(alphabet="abyYnNtTfFoO019./*@-: _#'\"~,[]{}&!?|>%=+é", max_size=12)


@settings(max_examples=300)
@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, min_size=1) | st.integers() | st.booleans()))
def test_what_is_put_together_here_is_what_the_dumper_writes(entry: dict[str, object]) -> None:
    assume(entry)
    with suppress(_Unusual):
        assert _written(entry) == _dumped(entry)
