"""The YAML form: a whole policy, or every problem with its place and what to write instead."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.policy import limits
from cnnf.policy.errors import InvalidFormError
from cnnf.policy.form import parse_policy
from cnnf.policy.objects import LabelTest, NetworkObject, name_value, qualifier
from cnnf.policy.rules import Policy, Rule
from cnnf.policy.subnets import subnet_value

TEXT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: payments, type: dns, values: [api.pay.example, "*.pay.example"]}
  - {name: office, type: subnet, values: [10.0.0.0/8, 192.168.1.10-192.168.1.20, "fd00::/8"]}
  - {name: frontend, type: image, values: ["shop/frontend:*", "-*:canary"], namespaces: [prod],
     labels: {tier: web, team: {in: [a, b]}, old: {exists: false}}}
  - {name: nginx, type: service, values: [nginx], hosts: ["web-*"]}
rules:
  containers:
    - {name: pay, source: [frontend], destination: [payments], ports: ["443", "8000-8100"],
       protocol: tcp, effect: allow}
    - name: rest
      source: [frontend]
      effect: prevent
      enabled: no
      note: "not yet: ask Ann"
  hosts: []
"""
POLICY = Policy(
    objects=(
        NetworkObject(name="payments", kind="dns", values=("api.pay.example", "*.pay.example")),
        NetworkObject(
            name="office",
            kind="subnet",
            values=("10.0.0.0/8", "192.168.1.10-192.168.1.20", "fd00::/8"),
        ),
        NetworkObject(
            name="frontend",
            kind="image",
            values=("shop/frontend:*", "-*:canary"),
            namespaces=("prod",),
            labels=(
                LabelTest(key="tier", values=("web",)),
                LabelTest(key="team", values=("a", "b")),
                LabelTest(key="old", operator="not exists"),
            ),
        ),
        NetworkObject(name="nginx", kind="service", values=("nginx",), hosts=("web-*",)),
    ),
    containers=(
        Rule(
            name="pay",
            source=("frontend",),
            destination=("payments",),
            ports=((443, 443), (8000, 8100)),
            protocol="tcp",
            effect="allow",
        ),
        Rule(
            name="rest",
            source=("frontend",),
            effect="prevent",
            enabled=False,
            note="not yet: ask Ann",
        ),
    ),
)

OBJECTS = "apiVersion: cnnf/v1\nnetworkObjects:\n  - {name: a, type: image, values: [a]}\n"
HEAD = f"{OBJECTS}  - {{name: s, type: subnet, values: [10.0.0.0/8]}}\nrules:\n  containers:\n"


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(InvalidFormError) as caught:
        parse_policy(text, subject="p.yaml")
    assert str(caught.value).startswith("p.yaml:")
    return [f"{one.line}:{one.column}: {one.message}" for one in caught.value.problems]


def test_a_policy_is_read_whole() -> None:
    assert parse_policy(TEXT, subject="p.yaml") == POLICY
    assert parse_policy(TEXT.encode(), subject="p.yaml") == POLICY
    assert parse_policy("\ufeff" + TEXT.replace("\n", "\r\n"), subject="p.yaml") == POLICY


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: cnnf/v1",
        "apiVersion: cnnf/v1\nnetworkObjects: []\nrules: {containers: [], hosts: []}\n",
        "apiVersion: cnnf/v1\nnetworkObjects:\nrules:\n  containers:\n  hosts:\n",
        "---\n# nothing yet\napiVersion: 'cnnf/v1'\nrules:\n...\n",
    ],
)
def test_a_policy_may_have_nothing_in_it(text: str) -> None:
    assert parse_policy(text, subject="p.yaml") == Policy()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("5", "4:5: a network object: write a mapping, `key: value`, not a number"),
        ("{name: b, type: image}", "4:5: a network object without values: add it"),
        (
            "{nmae: b, name: b, type: image, values: [b]}",
            (
                "4:6: unknown key 'nmae' in a network object: write one of name, type, values, "
                "clusters, namespaces, hosts, addresses or labels"
            ),
        ),
        (
            "{name: b, name: c, type: image, values: [b]}",
            "4:15: 'name' stands in line 4 already: write it once",
        ),
        (
            "{name: b, 1: c, type: image, values: [b]}",
            "4:15: a number as a key in a network object: write a text, quoted",
        ),
        (
            "{name: a, type: image, values: [b]}",
            "4:12: the object in line 3 is called 'a' too: rename one",
        ),
        (
            "{name: internet, type: subnet, values: [10.0.0.0/8]}",
            "4:12: 'internet' is built in: use another name",
        ),
        (
            "{name: no, type: image, values: [b]}",
            '4:12: `name`: a truth value where a text is due: write "no", quoted',
        ),
        ('{name: "", type: image, values: [b]}', "4:12: a name of 0 characters: write 1 to 128"),
        (
            '{name: " b", type: image, values: [b]}',
            "4:12: the name ' b' begins or ends with a space, or has what can't be printed",
        ),
        (
            "{name: b, type: Image, values: [b]}",
            "4:21: `type` is 'Image': write subnet, dns, image, service or host",
        ),
        (
            "{name: b, type: image, values: b}",
            "4:36: `values`: write a list, [a, b], not a text",
        ),
        (
            "{name: b, type: image, values: []}",
            "4:36: `values` is empty: write at least one, or leave it out for any",
        ),
        (
            "{name: b, type: image, values: [b, b]}",
            "4:40: 'b' stands in `values` already: write it once",
        ),
        (
            "{name: b, type: image, values: [1.4]}",
            '4:37: `values`: a number where a text is due: write "1.4", quoted',
        ),
        (
            "{name: b, type: image, values: [{b: c}]}",
            "4:37: `values`: write a text, not a mapping",
        ),
        (
            "{name: b, type: image, values: [-b]}",
            "4:36: nothing but exclusions: write what they exclude from, `*` for any",
        ),
        (
            "{name: b, type: image, values: ['b:']}",
            (
                "4:37: 'b:' lacks a repository, a tag or a digest: write `shop/frontend`, "
                "`shop/frontend:1.*` or `*:canary`"
            ),
        ),
        (
            "{name: b, type: image, values: ['-']}",
            "4:37: '-' is empty: write a value, or `*` for any",
        ),
        (
            "{name: b, type: image, values: [a b]}",
            "4:37: 'a b' has a space or a character that can't be printed",
        ),
        (
            "{name: b, type: subnet, values: [10.0.0.1/8]}",
            (
                "4:38: '10.0.0.1/8' is no subnet (10.0.0.1/8 has host bits set): write "
                "`10.0.0.0/8`, `203.0.113.7`, `192.168.1.10-192.168.1.20` or `fd00::/8`"
            ),
        ),
        (
            "{name: b, type: subnet, values: [10.0.0.0/8], hosts: [h]}",
            "4:5: `hosts` of a subnet object: addresses and names have none; leave it out",
        ),
        (
            "{name: b, type: host, values: [h], hosts: [-h]}",
            "4:47: nothing but exclusions: write what they exclude from, `*` for any",
        ),
        (
            "{name: b, type: host, values: [h], labels: {}}",
            "4:48: `labels` is empty: write a label, or leave it out",
        ),
        (
            "{name: b, type: host, values: [h], labels: [h]}",
            "4:48: labels: write a mapping, `key: value`, not a list",
        ),
        (
            "{name: b, type: host, values: [h], labels: {a: true}}",
            "4:52: `label 'a'`: a truth value where a text is due: write \"true\", quoted",
        ),
        (
            "{name: b, type: host, values: [h], labels: {a: {is: b}}}",
            "4:53: unknown key 'is' in label 'a': write one of in, not in or exists",
        ),
        (
            "{name: b, type: host, values: [h], labels: {a: {}}}",
            "4:52: label 'a': write at least one of in, not in or exists",
        ),
        (
            "{name: b, type: host, values: [h], labels: {a: {in: []}}}",
            "4:57: `in` is empty: write at least one, or leave it out for any",
        ),
        (
            "{name: b, type: host, values: [h], labels: {a: {exists: 1}}}",
            "4:61: `exists`: write true or false, not a number",
        ),
    ],
)
def test_an_object_that_is_wrong_is_refused_where_it_is(entry: str, problem: str) -> None:
    assert problems(f"{OBJECTS}  - {entry}\n")[-1] == problem


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("[a]", "7:7: a rule: write a mapping, `key: value`, not a list"),
        ("{name: r}", "7:7: a rule without effect: add it"),
        ("{}", "7:7: a rule without name and effect: add it"),
        ("{name: r, effect: deny}", "7:25: `effect` is 'deny': write allow, alert or prevent"),
        (
            "{name: r, effect: allow, protocol: TCP}",
            "7:42: `protocol` is 'TCP': write tcp, udp or any",
        ),
        (
            "{name: r, effect: allow, port: 1}",
            (
                "7:32: unknown key 'port' in a rule: write one of name, source, destination, "
                "ports, protocol, effect, enabled, note, owner or expires"
            ),
        ),
        (
            "{name: r, effect: allow, ports: 443}",
            "7:39: `ports`: write a list, [a, b], not a number",
        ),
        (
            "{name: r, effect: allow, ports: []}",
            "7:39: `ports` is empty: write at least one, or leave it out for any",
        ),
        (
            "{name: r, effect: allow, ports: [65536]}",
            "7:40: port '65536': write a port from 0 to 65535, or a range as `8000-8100`",
        ),
        (
            "{name: r, effect: allow, ports: [010]}",
            "7:40: port '010': write a port from 0 to 65535, or a range as `8000-8100`",
        ),
        (
            "{name: r, effect: allow, ports: [9-8]}",
            "7:40: port '9-8': the range ends before it begins, write 8-9",
        ),
        (
            "{name: r, effect: allow, ports: [4.5]}",
            '7:40: no port: write 443 or "8000-8100"',
        ),
        (
            "{name: r, effect: allow, source: [b]}",
            "7:41: no network object is called 'b': add it to `networkObjects`",
        ),
        (
            "{name: r, effect: allow, source: [A]}",
            "7:41: no network object is called 'A': write 'a'",
        ),
        (
            "{name: r, effect: allow, source: a}",
            "7:40: `source`: write a list, [a, b], not a text",
        ),
        (
            "{name: r, effect: allow, destination: []}",
            "7:45: `destination` is empty: write at least one, or leave it out for any",
        ),
        (
            "{name: r, effect: allow, destination: ~}",
            "7:45: `destination`: write a list, [a, b], not nothing",
        ),
        (
            "{name: r, effect: allow, destination: [a, a]}",
            "7:49: 'a' stands in `destination` already: write it once",
        ),
        (
            "{name: r, effect: allow, expires: 2026-12-31T18:00:00}",
            "7:41: '2026-12-31T18:00:00' has no time zone: add Z, or as +02:00",
        ),
        (
            "{name: r, effect: allow, expires: 2026-02-30}",
            (
                "7:41: '2026-02-30' is no time: write 2026-12-31T18:00:00Z, or 2026-12-31 for its "
                "first moment in UTC"
            ),
        ),
        (
            "{name: r, effect: allow, expires: 1e9}",
            (
                "7:41: '1e9' is no time: write 2026-12-31T18:00:00Z, or 2026-12-31 for its "
                "first moment in UTC"
            ),
        ),
        (
            "{name: r, effect: allow, expires: 0001-01-01}",
            "7:41: -62135596800000 ms: write a whole second from 1970-01-01 to 9999-12-31",
        ),
        (
            "{name: r, effect: allow, expires: 5}",
            "7:41: `expires`: write a time, 2026-12-31T18:00:00Z",
        ),
        (
            '{name: r, effect: allow, owner: ""}',
            "7:39: owner: a name of 0 characters: write 1 to 128",
        ),
        (
            "{name: r, effect: allow, enabled: maybe}",
            "7:41: `enabled`: write true or false, not a text",
        ),
        (
            "{name: r, effect: allow, source: [s], destination: [internet]}",
            (
                "7:7: neither side is protected here: name an image, service or host object on one "
                "side, or leave a side out"
            ),
        ),
        (
            '{name: r, effect: allow, note: "\\x07"}',
            "7:38: a note with a character that can't be printed",
        ),
    ],
)
def test_a_rule_that_is_wrong_is_refused_where_it_is(entry: str, problem: str) -> None:
    assert problems(f"{HEAD}    - {entry}\n") == [problem]


def test_a_rule_that_can_never_apply_in_its_list_is_refused() -> None:
    text = f"{OBJECTS}  - {{name: h, type: host, values: ['*']}}\nrules:\n"
    image = "  hosts: [{name: r, effect: allow, source: [a]}]\n"
    assert "move the rule to `containers`" in problems(text + image)[0]
    host = "  containers: [{name: r, effect: allow, source: [h], destination: [h]}]\n"
    assert "move the rule to `hosts`" in problems(text + host)[0]


def test_rules_of_both_lists_have_names_of_their_own() -> None:
    text = f"{HEAD}    - {{name: r, effect: allow}}\n  hosts:\n    - {{name: r, effect: allow}}\n"
    assert problems(text) == ["9:14: the rule in line 7 is called 'r' too: rename one"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: nothing in it: begin with `apiVersion: cnnf/v1`"),
        ("# nothing", "1:1: nothing in it: begin with `apiVersion: cnnf/v1`"),
        ("[]", "1:1: a policy: write a mapping, `key: value`, not a list"),
        ("rules: {}", "1:1: a policy without apiVersion: write `apiVersion: cnnf/v1`"),
        ("apiVersion: v2", "1:13: `apiVersion` is 'v2': write cnnf/v1"),
        (
            "apiVersion: cnnf/v1\nrules: 5",
            "2:8: rules: write a mapping, `key: value`, not a number",
        ),
        (
            "apiVersion: cnnf/v1\nrules: {pods: []}",
            "2:9: unknown key 'pods' in rules: write one of containers or hosts",
        ),
        (
            "apiVersion: cnnf/v1\nrules: {hosts: {}}",
            "2:16: `hosts`: write a list, [a, b], not a mapping",
        ),
        ("apiVersion: [cnnf/v1\n", "2:1: no YAML: while parsing a flow sequence"),
        ("a: &x 1\nb: *x", "1:4: anchors and aliases are not read here: write it out"),
        ("b: *x", "1:4: anchors and aliases are not read here: write it out"),
        ("a: !!python/object:os.system 1", "1:4: tags as 'tag:yaml.org,2002:python"),
        ("apiVersion: cnnf/v1\n---\na: b", "2:1: a second document: write one policy a file"),
        (b"a: \xff", "1:4: not UTF-8: save the file as UTF-8"),
        (b"a: b\n\xff", "2:1: not UTF-8: save the file as UTF-8"),
        ("a: \x01", "1:4: no YAML: control characters are not allowed"),
        ("a: \ud800", "1:4: not UTF-8: save the file as UTF-8"),
        ("{{{{{{{{{{{{", "1:9: nested more than 8 deep"),
        ("[" * 100_000, "1:9: nested more than 8 deep"),
        ("? [a]\n: b", "1:3: a list as a key in a policy: write a text, quoted"),
    ],
)
def test_what_is_no_policy_at_all_is_refused(text: str | bytes, problem: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_laughs_are_cut_short() -> None:
    laughs = "a: &a [ha, ha]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert problems(laughs) == ["1:4: anchors and aliases are not read here: write it out"]


def test_problems_are_told_all_at_once_in_the_order_of_the_text() -> None:
    text = f"{HEAD}    - {{name: r, effect: deny, ports: [x, 1, y], source: [nobody]}}\nfoo: 1\n"
    places = [one.partition(" ")[0] for one in problems(text)]
    assert places == ["7:25:", "7:39:", "7:45:", "7:58:", "8:1:"]


def test_an_object_that_is_wrong_is_not_told_again_by_rules_that_name_it() -> None:
    text = TEXT.replace("type: image", "type: picture")
    assert problems(text) == [
        "5:28: `type` is 'picture': write subnet, dns, image, service or host"
    ]


def test_problems_beyond_the_bound_are_counted() -> None:
    rules = "".join(
        f"    - {{name: r{at}, effect: deny}}\n" for at in range(limits.PROBLEMS_MAX + 7)
    )
    with pytest.raises(InvalidFormError, match=r"p\.yaml: and 7 more$") as caught:
        parse_policy(HEAD + rules, subject="p.yaml")
    assert len(caught.value.problems) == limits.PROBLEMS_MAX
    assert caught.value.more == 7


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        ("FORM_BYTES_MAX", TEXT),
        ("FORM_NODES_MAX", TEXT),
        ("OBJECTS_MAX", TEXT),
        ("RULES_MAX", TEXT),
        ("VALUES_MAX", TEXT),
        ("POLICY_VALUES_MAX", TEXT),
        ("LABELS_MAX", TEXT),
        ("LABEL_VALUES_MAX", TEXT),
        ("PORTS_MAX", TEXT),
        ("SIDE_OBJECTS_MAX", TEXT.replace("source: [frontend]", "source: [frontend, office]")),
        ("QUALIFIERS_MAX", TEXT.replace("[prod]", "[prod, test]")),
        ("NAME_CHARS_MAX", TEXT.replace("pay,", "payments-of-the-shop,")),
        ("VALUE_CHARS_MAX", TEXT),
        ("NOTE_CHARS_MAX", TEXT),
    ],
)
def test_every_bound_is_kept(bound: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse_policy(text, subject="p.yaml")
    for module in ("cnnf.policy.limits", "cnnf.policy.patterns"):
        monkeypatch.setattr(f"{module}.{bound}", 1, raising=module == "cnnf.policy.limits")
    # What was right before is remembered to be.
    for remembering in (name_value, qualifier, subnet_value):
        remembering.cache_clear()
    assert any(
        ("at most 1" in one or "more than 1" in one or "1 to 1" in one) for one in problems(text)
    )


@given(st.text(alphabet=st.characters(codec="utf-8")) | st.binary())
def test_any_text_is_a_policy_or_refused(data: str | bytes) -> None:
    _read(data)


@settings(max_examples=300)
@given(st.data())
def test_a_policy_with_a_piece_changed_is_a_policy_or_refused(draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(TEXT)))
    end = draw.draw(st.integers(start, min(len(TEXT), start + 12)))
    piece = draw.draw(
        st.sampled_from(
            [
                "",
                "[",
                "{",
                "}",
                "]",
                "- ",
                "\n",
                ": ",
                "*a",
                "&a ",
                "!",
                "5",
                "~",
                "|\n",
                "a",
                "-",
                '"',
                "'",
                "#",
                "\t",
                "? ",
                "<<: ",
            ]
        )
    )
    _read(TEXT[:start] + piece + TEXT[end:])


def _read(data: str | bytes) -> None:
    try:
        assert isinstance(parse_policy(data, subject="p.yaml"), Policy)
    except InvalidFormError as error:
        found = error.problems
    else:
        return
    assert found
    assert all(one.line >= 1 and one.column >= 1 for one in found)
