"""Kubernetes manifests, read: text in, values or every problem with its place out.

What the API's server would refuse is refused here too (fields that it doesn't know, a block beside
a selector, a range without a number, …), so that a typing error never becomes a policy that
allows. Documents and lists (`kind: List`) may hold anything else; that is counted and left out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_network
from typing import TypeVar

import msgspec

from cnnf.policy import limits
from cnnf.policy.kubernetes.manifests import (
    API_VERSION,
    DEFAULT_NAMESPACE,
    Direction,
    IpBlock,
    LabelSelector,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PodPort,
    PolicyPort,
    PolicyProtocol,
    Requirement,
    SelectorOperator,
    TrafficRule,
)
from cnnf.policy.reading import Reader, any_of, is_nothing
from cnnf.policy.rules import PORT_MAX
from cnnf.policy.subnets import subnet_value
from cnnf.policy.tree import Fields, Items, Node, Text, read_documents

Value = TypeVar("Value")

_POLICY = ("apiVersion", "kind", "metadata", "spec", "status")
_SPEC = ("podSelector", "policyTypes", "ingress", "egress")
_PEERS: dict[Direction, str] = {"ingress": "from", "egress": "to"}
_PEER = ("podSelector", "namespaceSelector", "ipBlock")
_PORT = ("protocol", "port", "endPort")
_SELECTOR = ("matchLabels", "matchExpressions")
_OPERATORS: tuple[SelectorOperator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")
_PROTOCOLS: dict[str, PolicyProtocol] = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_TYPES: dict[str, Direction] = {"Ingress": "ingress", "Egress": "egress"}

#: A label's value, and its key after the optional prefix (the API's *qualified name*).
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
#: RFC 1123: a namespace is a label, an object's name a subdomain.
_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
#: A port's name (RFC 6335): letters, digits and single hyphens, at least one letter.
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")


def is_label_key(text: str) -> bool:
    """Can a label of Kubernetes be called so?"""
    return len(text) <= 317 and _LABEL_KEY.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """Can a label of Kubernetes have that value?"""
    return _LABEL_VALUE.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Can a namespace of Kubernetes be called so?"""
    return _NAMESPACE.fullmatch(text) is not None


class Manifests(msgspec.Struct, frozen=True):
    """What was looked for, and how many of which other kinds stood beside it."""

    policies: tuple[NetworkPolicy, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[Pod, ...] = ()
    others: Mapping[str, int] = {}


def parse_policies(data: str | bytes, *, subject: str) -> Manifests:
    """The NetworkPolicies of a text. Raises InvalidFormError with every problem of it."""
    return _ManifestReader(subject).manifests(data, "NetworkPolicy")


def parse_namespaces(data: str | bytes, *, subject: str) -> Manifests:
    """The Namespaces of a text. Raises InvalidFormError with every problem of it."""
    return _ManifestReader(subject).manifests(data, "Namespace")


def parse_pods(data: str | bytes, *, subject: str) -> Manifests:
    """The Pods of a text. Raises InvalidFormError with every problem of it."""
    return _ManifestReader(subject).manifests(data, "Pod")


class _ManifestReader(Reader):
    def __init__(self, subject: str) -> None:
        super().__init__(subject)
        self._file = subject
        self._others: dict[str, int] = {}
        self._places: dict[tuple[str, ...], int] = {}

    def manifests(self, data: str | bytes, kind: str) -> Manifests:
        roots = read_documents(data, self._file, depth_max=limits.MANIFEST_DEPTH_MAX)
        found: list[Node] = []
        for root in roots:
            if not is_nothing(root):
                self.tried(partial(self._objects, root, kind, found), None)
        if kind == "NetworkPolicy":
            policies = Manifests(self.some(found, self._policy), others=self._others)
        elif kind == "Namespace":
            policies = Manifests(namespaces=self.some(found, self._namespace), others=self._others)
        else:
            policies = Manifests(pods=self.some(found, self._pod), others=self._others)
        self.finish()
        return policies

    def _objects(self, node: Node, wanted: str, found: list[Node]) -> None:
        """Puts a document's objects of the wanted kind where they are collected."""
        fields = self._known(node, "a manifest")
        kind = self.text(fields["kind"], "kind") if "kind" in fields else ""
        if not kind:
            self.refuse(node, "a manifest without `kind`: add it")
        if kind in ("List", f"{wanted}List"):
            for one in self._list(fields.get("items"), "items"):
                # Typed lists leave out the kind of what is in them.
                if kind != "List" and "kind" not in self._known(one, "an item"):
                    found.append(one)
                else:
                    self.tried(partial(self._objects, one, wanted, found), None)
        elif kind == wanted:
            self._check_version(fields, node, wanted)
            found.append(node)
        else:
            self._others[kind] = self._others.get(kind, 0) + 1

    def _check_version(self, fields: dict[str, Node], node: Node, kind: str) -> None:
        wanted = API_VERSION if kind == "NetworkPolicy" else "v1"
        if "apiVersion" not in fields:
            self.refuse(node, f"a {kind} without apiVersion: write `apiVersion: {wanted}`")
        self.choice(fields["apiVersion"], "apiVersion", (wanted,))

    # Policies.

    def _policy(self, node: Node) -> NetworkPolicy:
        fields = self.fields(node, "a NetworkPolicy", _POLICY, ("metadata",))
        name, namespace = self._metadata(node, "NetworkPolicy", fields["metadata"])
        spec: dict[str, Node] = {}
        if not _missing(fields, "spec"):
            spec = self.fields(fields["spec"], "spec", _SPEC, ())
        pods = self._selector(spec.get("podSelector"), "podSelector") or ()
        rules: dict[Direction, tuple[TrafficRule, ...]] = {
            direction: self._each(spec.get(direction), direction, partial(self._traffic, direction))
            for direction in _TYPES.values()
        }
        types = self._policy_types(spec, bool(rules["egress"]))
        return NetworkPolicy(
            name=name,
            namespace=namespace,
            pods=pods,
            ingress=rules["ingress"] if "ingress" in types else None,
            egress=rules["egress"] if "egress" in types else None,
        )

    def _policy_types(self, spec: dict[str, Node], has_egress: bool) -> set[Direction]:
        """As written; left out or empty: ingress, and egress where there are rules for it."""
        written = self._each(
            spec.get("policyTypes"),
            "policyTypes",
            lambda node: self.choice(node, "policyTypes", tuple(_TYPES)),
        )
        if written:
            return {_TYPES[one] for one in written}
        return {"ingress", "egress"} if has_egress else {"ingress"}

    def _traffic(self, direction: Direction, node: Node) -> TrafficRule:
        word = _PEERS[direction]
        fields = self.fields(node, f"a rule of `{direction}`", (word, "ports"), ())
        return TrafficRule(
            peers=self._each(fields.get(word), word, self._peer),
            ports=self._each(fields.get("ports"), "ports", self._port),
        )

    def _peer(self, node: Node) -> Peer:
        fields = self.fields(node, "a peer", _PEER, ())
        pods = self._selector(fields.get("podSelector"), "podSelector")
        namespaces = self._selector(fields.get("namespaceSelector"), "namespaceSelector")
        block = None if _missing(fields, "ipBlock") else self._block(fields["ipBlock"])
        if block is not None and (pods is not None or namespaces is not None):
            self.refuse(node, "`ipBlock` beside a selector: write two peers")
        if block is None and pods is None and namespaces is None:
            self.refuse(node, f"a peer that is nobody: write {any_of(_PEER)}")
        return Peer(pods=pods, namespaces=namespaces, block=block)

    def _block(self, node: Node) -> IpBlock:
        fields = self.fields(node, "ipBlock", ("cidr", "except"), ("cidr",))
        cidr = self._network(fields["cidr"])
        excepted = self._each(fields.get("except"), "except", partial(self._excepted, cidr))
        if len(excepted) >= limits.VALUES_MAX:
            self.refuse(node, f"{len(excepted):,} networks in `except`: too many")
        return IpBlock(cidr, excepted)

    def _excepted(self, cidr: str, node: Node) -> str:
        text = self._network(node)
        _, outer_version, (low, high) = subnet_value(cidr)
        _, version, (first, last) = subnet_value(text)
        smaller = last - first < high - low
        if version != outer_version or not (low <= first and last <= high and smaller):
            self.refuse(node, f"{text} in `except` has to lie in {cidr} and be smaller")
        return text

    def _network(self, node: Node) -> str:
        text = self.text(node, "cidr")
        address, slash, _ = text.partition("/")
        try:
            # The API takes host bits and ignores them.
            network = ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is None or not slash or "%" in address:
            self.refuse(node, f"{text!r:.80} is no network: write `10.0.0.0/8` or `2001:db8::/32`")
        return str(network)

    def _port(self, node: Node) -> PolicyPort:
        fields = self.fields(node, "a port", _PORT, ())
        protocol: PolicyProtocol = "tcp"
        if not _missing(fields, "protocol"):
            protocol = _PROTOCOLS[self.choice(fields["protocol"], "protocol", tuple(_PROTOCOLS))]
        if _missing(fields, "port"):
            if not _missing(fields, "endPort"):
                self.refuse(fields["endPort"], "`endPort` without `port`: add the first port")
            return PolicyPort(protocol=protocol)
        port = fields["port"]
        if isinstance(port, Text) and port.read_as == "str":
            if not _missing(fields, "endPort"):
                self.refuse(fields["endPort"], "`endPort` beside a name: write a number as `port`")
            return PolicyPort(protocol=protocol, name=self._port_name(port))
        first = self._port_number(port, "port")
        last = first
        if not _missing(fields, "endPort"):
            last = self._port_number(fields["endPort"], "endPort")
        if last < first:
            self.refuse(fields["endPort"], f"`endPort` {last} lies before `port` {first}")
        return PolicyPort(protocol=protocol, ports=(first, last))

    def _port_name(self, node: Text) -> str:
        if not _PORT_NAME.fullmatch(node.text):
            hint = f"write {node.text}, unquoted" if node.text.isdecimal() else "a name is `http`"
            self.refuse(node, f"{node.text!r:.80} is no port's name: {hint}")
        return node.text

    def _port_number(self, node: Node, what: str) -> int:
        text = node.text if isinstance(node, Text) and node.read_as == "int" else ""
        if not (text.isascii() and text.isdecimal() and text[:5] == str(int(text))):
            self.refuse(node, f"`{what}`: write a port from 1 to {PORT_MAX}, or a port's name")
        if not 1 <= int(text) <= PORT_MAX:
            self.refuse(node, f"`{what}` is {text}: write a port from 1 to {PORT_MAX}")
        return int(text)

    # Selectors.

    def _selector(self, node: Node | None, what: str) -> LabelSelector | None:
        """None where there is none; an empty one selects everybody."""
        if node is None or is_nothing(node):
            return None
        fields = self.fields(node, what, _SELECTOR, ())
        labels: tuple[Requirement, ...] = ()
        if not _missing(fields, "matchLabels"):
            pairs = self.pairs(fields["matchLabels"], "matchLabels")
            labels = self.each(
                pairs,
                lambda pair: Requirement(
                    self._label_key(pair[0]), "In", (self._label_value(pair[1]),)
                ),
            )
        return labels + self._each(
            fields.get("matchExpressions"), "matchExpressions", self._requirement
        )

    def _requirement(self, node: Node) -> Requirement:
        fields = self.fields(
            node, "an expression", ("key", "operator", "values"), ("key", "operator")
        )
        key = self._label_key(fields["key"])
        operator = self.choice(fields["operator"], "operator", _OPERATORS)
        values = self._each(fields.get("values"), "values", self._label_value)
        if bool(values) is not (operator in ("In", "NotIn")):
            self.refuse(
                node,
                f"`{operator}` without values: add `values`"
                if not values
                else f"`{operator}` with values: leave them out",
            )
        return Requirement(key, operator, tuple(dict.fromkeys(values)))

    def _label_key(self, node: Node) -> str:
        return self._matching(node, "a label's key", is_label_key)

    def _label_value(self, node: Node) -> str:
        return self._matching(node, "a label's value", is_label_value)

    # Namespaces and pods: what the API gave, of which little matters.

    def _namespace(self, node: Node) -> Namespace:
        fields = self._known(node, "a Namespace")
        metadata = self._known(fields.get("metadata", node), "metadata")
        if "name" not in metadata:
            self.refuse(node, "a Namespace without a name: add `metadata: {name: …}`")
        name = self._matching(metadata["name"], "a namespace", is_namespace)
        self._check_once(node, "Namespace", name)
        return Namespace(name=name, labels=self._labels(metadata.get("labels")))

    def _pod(self, node: Node) -> Pod:
        fields = self._known(node, "a Pod")
        name, namespace = self._metadata(node, "Pod", fields.get("metadata", node))
        spec = {} if _missing(fields, "spec") else self._known(fields["spec"], "spec")
        listed = [
            *self._each(spec.get("initContainers"), "initContainers", self._sidecar_ports),
            *self._each(spec.get("containers"), "containers", self._pod_ports),
        ]
        ports = tuple(port for ports in listed for port in ports)
        metadata = self._known(fields["metadata"], "metadata")
        return Pod(
            name=name,
            namespace=namespace,
            labels=self._labels(metadata.get("labels")),
            ports=tuple(dict.fromkeys(ports)),
            node="" if _missing(spec, "nodeName") else self.text(spec["nodeName"], "nodeName"),
            host_network=not _missing(spec, "hostNetwork")
            and self.truth(spec["hostNetwork"], "hostNetwork"),
        )

    def _sidecar_ports(self, node: Node) -> tuple[PodPort, ...]:
        """Of the containers that end before the others begin, those that don't end."""
        again = self._known(node, "a container").get("restartPolicy")
        stays = isinstance(again, Text) and again.text == "Always"
        return self._pod_ports(node) if stays else ()

    def _pod_ports(self, node: Node) -> tuple[PodPort, ...]:
        fields = self._known(node, "a container")
        named = [
            one
            for one in self._each(fields.get("ports"), "ports", partial(self._known, what="a port"))
            if not _missing(one, "name")
        ]
        return tuple(map(self._pod_port, named))

    def _pod_port(self, fields: dict[str, Node]) -> PodPort:
        name = self.text(fields["name"], "name")
        if _missing(fields, "containerPort"):
            self.refuse(fields["name"], "a port without `containerPort`: add it")
        protocol = "TCP"
        if not _missing(fields, "protocol"):
            protocol = self.choice(fields["protocol"], "protocol", tuple(_PROTOCOLS))
        number = self._port_number(fields["containerPort"], "containerPort")
        return PodPort(name, number, _PROTOCOLS[protocol])

    # What several of them have.

    def _metadata(self, whole: Node, kind: str, node: Node) -> tuple[str, str]:
        """Name and namespace."""
        metadata = self._known(node, "metadata")
        if "name" not in metadata:
            self.refuse(whole, f"a {kind} without a name: add `metadata: {{name: …}}`")
        name = self._matching(metadata["name"], "a name", _is_name)
        namespace = DEFAULT_NAMESPACE
        if not _missing(metadata, "namespace"):
            namespace = self._matching(metadata["namespace"], "a namespace", is_namespace)
        self._check_once(whole, kind, namespace, name)
        return name, namespace

    def _check_once(self, node: Node, kind: str, *names: str) -> None:
        line = self._places.setdefault((kind, *names), node.place.line)
        if line != node.place.line:
            called = "/".join(names)
            self.refuse(node, f"the {kind} {called} stands in line {line} already: write it once")

    def _labels(self, node: Node | None) -> dict[str, str]:
        if node is None or is_nothing(node):
            return {}
        return {
            self._label_key(key): self._label_value(value)
            for key, value in self.pairs(node, "labels")
        }

    def _matching(self, node: Node, what: str, is_right: Callable[[str], bool]) -> str:
        text = self.text(node, what)
        if not is_right(text):
            self.refuse(node, f"{text!r:.80} can't be {what} in Kubernetes")
        return text

    def _known(self, node: Node, what: str) -> dict[str, Node]:
        """A mapping, whatever else is in it."""
        return {key.text: value for key, value in self.pairs(node, what)}

    def _list(self, node: Node | None, what: str) -> Sequence[Node]:
        """A list that may be empty or left out."""
        if node is None or is_nothing(node):
            return ()
        if not isinstance(node, Items):
            self.refuse(node, f"`{what}`: write a list, `- …`")
        return node.items

    def _each(
        self, node: Node | None, what: str, read: Callable[[Node], Value]
    ) -> tuple[Value, ...]:
        return self.each(self._list(node, what), read)


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _missing(fields: Mapping[str, Node], name: str) -> bool:
    return name not in fields or (not isinstance(fields[name], Fields) and is_nothing(fields[name]))
