"""Flows as a person writes them: all of them, or every problem with its place."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.addresses import parse_address
from cnnf.policy.endpoints import Candidate, Identity, port_label
from cnnf.policy.errors import InvalidFormError
from cnnf.policy.flows import Expected, Flow, parse_endpoints, parse_flows

TEXT = """\
- source: {image: "shop/frontend:1.4", namespace: prod, cluster: c1, labels: {tier: web},
           ip: 10.1.0.4}
  destination: {ip: 203.0.113.7, dns: api.pay.example}
  port: 443
  protocol: tcp
- {source: {service: nginx, host: web-1}, destination: {host: db-1, ip: "::ffff:10.0.0.1"},
   port: "53", protocol: udp, expect: prevent}
- destination: {labels: {app: db}, ports: [{name: sql, port: 5432, protocol: TCP}]}
  port: 5432
  expect: {effect: alert, cause: "rule:a"}
- {source: {ip: 10.0.0.1, cluster: c1, labels: {}}, destination: {dns: [a.example, b.example]},
   port: 1}
"""


def test_flows_are_read() -> None:
    flows = parse_flows(TEXT, subject="f.yaml")
    assert flows[0] == Flow(
        source=Candidate(
            identity=Identity(
                kind="container",
                name="shop/frontend",
                tag="1.4",
                namespace="prod",
                cluster="c1",
                labels=(("tier", "web"),),
            ),
            address=parse_address("10.1.0.4"),
        ),
        destination=Candidate(address=parse_address("203.0.113.7"), names=("api.pay.example",)),
        port=443,
        line=1,
    )
    assert flows[1] == Flow(
        source=Candidate(identity=Identity(kind="service", name="nginx", host="web-1")),
        destination=Candidate(
            identity=Identity(kind="host", name="db-1"), address=parse_address("10.0.0.1")
        ),
        port=53,
        protocol="udp",
        expected=Expected(effect="prevent"),
        line=6,
    )
    pod = Identity(
        kind="container", name="", labels=(("app", "db"), (port_label("sql", "tcp"), "5432"))
    )
    assert flows[2].source == Candidate()
    assert flows[2].destination == Candidate(identity=pod)
    assert flows[2].expected == Expected(effect="alert", cause="rule:a")
    assert flows[3].destination.names == ("a.example", "b.example")


def test_no_flows_are_none() -> None:
    assert parse_flows("[]", subject="f.yaml") == ()


def test_those_who_are_there_are_read() -> None:
    found = parse_endpoints('[{image: a, ip: "fd00::1"}, {ip: 10.0.0.1}]', subject="k.yaml")
    assert [one.identity is not None for one in found] == [True, False]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{source: {}}", "1:3: a flow without port: add it"),
        ("{port: 70000}", "1:10: port '70000': write a port from 0 to 65535, or a range as"),
        ("{port: 1-2}", "1:10: `port` is '1-2': a flow has one, write 1"),
        ("{port: [1]}", "1:10: `port`: write one port, 443"),
        ("{port: 1, protocol: sctp}", "1:23: `protocol` is 'sctp': write tcp or udp"),
        ("{port: 1, to: x}", "1:13: unknown key 'to' in a flow: write one of source,"),
        ("{port: 1, source: {ip: 10.0.0.0/8}}", "1:26: `ip` is '10.0.0.0/8': write one address"),
        ("{port: 1, source: {ip: {}}}", "1:26: `ip`: write one address"),
        ("{port: 1, source: {host: 'web-*'}}", "1:28: `host` is 'web-*': write a name, not a"),
        ("{port: 1, source: {image: ''}}", "1:29: '' is empty"),
        ("{port: 1, source: {labels: {a: 1}}}", "1:34: `label 'a'`: a number where a text is due"),
        ("{port: 1, source: {image: a, service: b}}", "1:41: source with image and service"),
        ("{port: 1, source: {cluster: b}}", "1:31: source with nothing but a cluster"),
        ("{port: 1, source: {ports: [{name: a}]}}", "1:30: a port of a side without port"),
        ("{port: 1, expect: deny}", "1:21: `expect` is 'deny': write allow, alert or prevent"),
        ("{port: 1, expect: {cause: a}}", "1:21: expect without effect: add it"),
        ("[a]", "1:3: a flow: write a mapping"),
    ],
)
def test_a_flow_that_is_wrong_is_refused_where_it_is(entry: str, problem: str) -> None:
    with pytest.raises(InvalidFormError) as caught:
        parse_flows(f"- {entry}\n", subject="f")
    assert str(caught.value.problems[0]).removeprefix("f:").startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (" ", "f:1:1: nothing in it: write a list of flows, `[]` for none"),
        ("a: b", "f:1:1: `flows`: write a list, [a, b], not a mapping"),
        ("[", "f:2:1: no YAML"),
    ],
)
def test_a_text_that_is_no_list_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidFormError) as caught:
        parse_flows(text, subject="f")
    assert str(caught.value).startswith(problem)


def test_all_problems_are_told() -> None:
    with pytest.raises(InvalidFormError) as caught:
        parse_flows("- {port: 1, source: {ip: x}}\n- {port: x, expect: y}\n", subject="f")
    assert [one.line for one in caught.value.problems] == [1, 2, 2]


@given(st.text(max_size=60))
def test_any_text_is_flows_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidFormError):
        (flow,) = parse_flows(f"- source: {{{text}}}\n  port: 1\n", subject="f")
        assert flow.port == 1
