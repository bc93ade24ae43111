"""Rules, and the whole they make: a policy as a person writes it.

The order of a list is the only precedence there is: the first enabled rule whose source,
destination, protocol and ports all match decides.
"""

from collections.abc import Collection
from typing import Literal, get_args

import msgspec

from cnnf.policy.errors import InvalidValueError
from cnnf.policy.objects import PROTECTED, NetworkObject, ObjectKind

ListName = Literal["containers", "hosts"]
Effect = Literal["allow", "alert", "prevent"]
RuleProtocol = Literal["tcp", "udp", "any"]
PortRange = tuple[int, int]

LISTS: tuple[ListName, ...] = get_args(ListName)
EFFECTS: tuple[Effect, ...] = get_args(Effect)
PROTOCOLS: tuple[RuleProtocol, ...] = get_args(RuleProtocol)
PORT_MAX = 65_535


class Rule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who may not, or may, connect to whom. An empty side or no ports: any.

    `source` and `destination` name network objects; `ports` are destination ports, both ends of a
    range included. `owner` is whom to ask about it. From `expires_ms` on (milliseconds since 1970)
    the rule counts as absent; None: never.
    """

    name: str
    effect: Effect
    source: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    ports: tuple[PortRange, ...] = ()
    protocol: RuleProtocol = "any"
    enabled: bool = True
    note: str = ""
    owner: str = ""
    expires_ms: int | None = None

    def expired(self, now_ms: int) -> bool:
        """Is it over by that time?"""
        return self.expires_ms is not None and self.expires_ms <= now_ms


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Objects, and the two lists of rules that name them."""

    objects: tuple[NetworkObject, ...] = ()
    containers: tuple[Rule, ...] = ()
    hosts: tuple[Rule, ...] = ()


def port_range(text: str) -> PortRange:
    """`443` or `8000-8100`. Raises InvalidValueError."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        low, high = _port(first), _port(last if dash else first)
    except ValueError:
        raise InvalidValueError(
            f"port {text!r:.80}: write a port from 0 to {PORT_MAX}, or a range as `8000-8100`"
        ) from None
    if low > high:
        raise InvalidValueError(
            f"port {text!r}: the range ends before it begins, write {high}-{low}"
        )
    return low, high


def _port(text: str) -> int:
    # Not `010` either: YAML reads an octal number there.
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and text == str(int(text))):
        raise ValueError(text)
    if int(text) > PORT_MAX:
        raise ValueError(text)
    return int(text)


def check_sides(
    where: ListName, source: Collection[ObjectKind], destination: Collection[ObjectKind]
) -> None:
    """Raises InvalidValueError for a rule that can never apply in its list.

    Takes the kinds of the objects on each side; none for a side that is left out, which is any and
    includes what is protected.
    """
    if where == "hosts" and "image" in {*source, *destination}:
        raise InvalidValueError(
            "an image in a rule for hosts, where no container is on either side: "
            "move the rule to `containers`"
        )
    if not source or not destination:
        return
    named = {*source, *destination}
    if not named & PROTECTED:
        raise InvalidValueError(
            "neither side is protected here: name an image, service or host object on one side, "
            "or leave a side out"
        )
    if where == "containers" and named <= {"service", "host"}:
        raise InvalidValueError(
            "no container can be on either side: move the rule to `hosts`, or name an image"
        )
