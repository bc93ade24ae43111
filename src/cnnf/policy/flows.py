"""Flows as a person writes them down, to ask what a policy says of them.

Read by `cnnf policy test` (a list of flows) and `cnnf policy check` (a list of sides: who is
there). Like a policy's form, a text is read whole, or every problem of it is told with its place.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, get_args

import msgspec

from cnnf.policy import limits
from cnnf.policy.addresses import Address, parse_address
from cnnf.policy.checks import check_label, within
from cnnf.policy.endpoints import (
    Candidate,
    Identity,
    container_identity,
    port_label,
    sorted_labels,
)
from cnnf.policy.errors import InvalidFormError, Problem
from cnnf.policy.evaluation import Protocol
from cnnf.policy.objects import LabelTest
from cnnf.policy.patterns import split_exclusion
from cnnf.policy.reading import Reader, Unreadable
from cnnf.policy.rules import EFFECTS, Effect, port_range
from cnnf.policy.tree import Items, Node, Text, read_tree

_FLOW = ("source", "destination", "port", "protocol", "expect")
_EXPECT = ("effect", "cause")
_SIDE = ("image", "service", "host", "namespace", "cluster", "labels", "ip", "dns", "ports")
_PORT = ("name", "port", "protocol")
#: Every key that the form has, but the names of labels.
FLOW_KEYS = frozenset((*_FLOW, *_EXPECT, *_SIDE, *_PORT))

_PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

Value = TypeVar("Value")


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody counts on. `cause` '' for any."""

    effect: Effect
    cause: str = ""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One connection to be judged; `line` is where it stands."""

    source: Candidate
    destination: Candidate
    port: int
    protocol: Protocol = "tcp"
    expected: Expected | None = None
    line: int = 0


def parse_flows(data: str | bytes, *, subject: str) -> tuple[Flow, ...]:
    """The flows that a text lists. Raises InvalidFormError with every problem of it."""
    return _read(data, subject, "flows", lambda reader: reader.flow)


def parse_endpoints(data: str | bytes, *, subject: str) -> tuple[Candidate, ...]:
    """Those who are there, a list of sides. Raises InvalidFormError with every problem of it."""
    return _read(data, subject, "sides", lambda reader: partial(reader.side, what="a side"))


def _read(
    data: str | bytes,
    subject: str,
    what: str,
    part: "Callable[[_FlowReader], Callable[[Node], Value]]",
) -> tuple[Value, ...]:
    if not data.strip():
        message = f"nothing in it: write a list of {what}, `[]` for none"
        raise InvalidFormError((Problem(subject=subject, line=1, column=1, message=message),))
    root = read_tree(data, subject)
    reader = _FlowReader(subject)
    found: tuple[Value, ...] = ()
    if not isinstance(root, Items) or root.items:
        items = reader.tried(lambda: reader.items(root, what, limits.FLOWS_MAX), [])
        found = reader.some(items, part(reader))
    reader.finish()
    return found


class _FlowReader(Reader):
    def flow(self, node: Node) -> Flow:
        """One entry of the list."""
        fields = self.fields(node, "a flow", _FLOW, ("port",))
        before = self.problems
        sides = [
            self.tried(partial(self.side, fields[word], word), Candidate())
            if word in fields
            else Candidate()
            for word in ("source", "destination")
        ]
        port = self.tried(lambda: self._port(fields["port"]), 0)
        protocol: Protocol = "tcp"
        if "protocol" in fields:
            read = partial(self.choice, fields["protocol"], "protocol", _PROTOCOLS)
            protocol = self.tried(read, protocol)
        expected: Expected | None = None
        if "expect" in fields:
            expected = self.tried(lambda: self._expected(fields["expect"]), None)
        if self.problems > before:
            raise Unreadable
        return Flow(
            source=sides[0],
            destination=sides[1],
            port=port,
            protocol=protocol,
            expected=expected,
            line=node.place.line,
        )

    def side(self, node: Node, what: str) -> Candidate:
        """Who it is, as far as it is written; `{}` for somebody of whom nothing is known."""
        fields = self.fields(node, what, _SIDE, ())
        before = self.problems
        words: dict[str, str] = {
            word: self.tried(partial(self._word, fields[word], word), "")
            for word in ("image", "service", "host", "namespace", "cluster")
            if word in fields
        }
        none: dict[str, str] = {}
        labels = self._part(fields, "labels", self._labels, none)
        labels = labels | self._part(fields, "ports", self._named_ports, none)
        address: Address | None = self._part(fields, "ip", self._address, None)
        no_names: tuple[str, ...] = ()
        names = self._part(fields, "dns", self._names, no_names)
        if "image" in words and "service" in words:
            self.note(fields["service"], f"{what} with image and service: it is one of them")
        if set(fields) & {"cluster", "namespace", "labels", "ports"} == {"cluster"} and not (
            {"image", "service", "host"} & set(fields)
        ):
            self.note(
                fields["cluster"], f"{what} with nothing but a cluster: add image, service or host"
            )
        if self.problems > before:
            raise Unreadable
        return Candidate(identity=_identity(words, labels), address=address, names=names)

    def _part(
        self,
        fields: dict[str, Node],
        key: str,
        read: Callable[[Node], Value],
        otherwise: Value,
    ) -> Value:
        return self.tried(lambda: read(fields[key]), otherwise) if key in fields else otherwise

    def _word(self, node: Node, what: str) -> str:
        text = self.text(node, what)
        excludes, _ = self.ask(node, lambda: split_exclusion(text))
        if excludes or "*" in text:
            self.refuse(node, f"`{what}` is {text!r:.80}: write a name, not a pattern")
        return text

    def _labels(self, node: Node) -> dict[str, str]:
        pairs = self.pairs(node, "labels")
        self.ask(node, lambda: within("labels", pairs, limits.FLOW_LABELS_MAX))

        def read(pair: tuple[Text, Node]) -> tuple[str, str]:
            key, value = pair[0].text, self.text(pair[1], f"label {pair[0].text!r:.80}")
            self.ask(pair[0], lambda: check_label(LabelTest(key=key, values=(value,))))
            return key, value

        return dict(self.each(pairs, read))

    def _named_ports(self, node: Node) -> dict[str, str]:
        if isinstance(node, Items) and not node.items:
            return {}
        entries = self.items(node, "ports", limits.FLOW_LABELS_MAX)
        return dict(self.each(entries, self._named_port))

    def _named_port(self, node: Node) -> tuple[str, str]:
        fields = self.fields(node, "a port of a side", _PORT, ("name", "port"))
        name = self._word(fields["name"], "name")
        port = self._port(fields["port"])
        protocol = self.text(fields["protocol"], "protocol") if "protocol" in fields else "tcp"
        return port_label(name, protocol.lower()), str(port)

    def _address(self, node: Node) -> Address:
        if not isinstance(node, Text):
            self.refuse(node, "`ip`: write one address")
        try:
            return parse_address(node.text)
        except ValueError:
            self.refuse(node, f"`ip` is {node.text!r:.80}: write one address, IPv4 or IPv6")

    def _names(self, node: Node) -> tuple[str, ...]:
        if isinstance(node, Items):
            return self.texts(node, "dns", limits.NAMES_MAX, split_exclusion)
        return (self._word(node, "dns"),)

    def _port(self, node: Node) -> int:
        if not isinstance(node, Text) or node.read_as not in ("int", "str"):
            self.refuse(node, "`port`: write one port, 443")
        low, high = self.ask(node, lambda: port_range(node.text))
        if low != high:
            self.refuse(node, f"`port` is {node.text!r}: a flow has one, write {low}")
        return low

    def _expected(self, node: Node) -> Expected:
        if isinstance(node, Text):
            return Expected(effect=self.choice(node, "expect", EFFECTS))
        fields = self.fields(node, "expect", _EXPECT, ("effect",))
        cause = self.text(fields["cause"], "cause") if "cause" in fields else ""
        return Expected(effect=self.choice(fields["effect"], "effect", EFFECTS), cause=cause)


def _identity(words: dict[str, str], labels: dict[str, str]) -> Identity | None:
    """A container by its image, a service, a host; where only what containers have is said
    (namespace, labels, ports), a container of an image that isn't known."""
    host, cluster = words.get("host", ""), words.get("cluster", "")
    namespace = words.get("namespace", "")
    if "image" in words:
        return container_identity(
            words["image"], host=host, cluster=cluster, namespace=namespace, labels=labels
        )
    found = Identity(
        kind="container",
        name="",
        host=host,
        cluster=cluster,
        namespace=namespace,
        labels=sorted_labels(labels),
    )
    if "service" in words:
        return msgspec.structs.replace(found, kind="service", name=words["service"])
    if "host" in words:
        return msgspec.structs.replace(found, kind="host", name=host, host="")
    return found if namespace or labels else None
