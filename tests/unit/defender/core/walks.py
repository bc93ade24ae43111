"""Walks a packet through the table's rules: every way that it may go.

Marks are computed; whatever else a rule looks at may hold or not, unless it is among the `facts`,
and a set may be full or not. So the ways found are more than those of any real packet, never less.
Verdicts as in nft(8): a chain that was gone to ends its caller's caller, so a `return` there, or
its end, is the base chain's policy, which is to accept.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_MARK_IS = re.compile(r"meta mark & (0x[0-9a-f]+) (==|!=) (0x[0-9a-f]+) ?")
_MARK_SET = re.compile(r"meta mark set meta mark & (0x[0-9a-f]+)(?: \| (0x[0-9a-f]+))? ?")
_UPDATE = re.compile(r"update @\w+ \{ [^}]* \} ?")
_ADD = re.compile(r"add @(\w+) \{ [^}]* \} ?")
_VERDICT = re.compile(r"(?:(goto|jump) (\S+)|return|drop|reject .*)$")
_QUIET = re.compile(r"(?:counter name \S+|limit rate .*? packets|log group .*?(?=return|$)) ?")


#: Chains whose only rule is no text of ours, and what it does.
_QUEUES = {"handover": "hand over", "dns_held": "wait"}


class End(NamedTuple):
    """Where a packet has got to: `how` is accept, refuse, hand over or wait; with what mark, and
    which sets it was added to."""

    how: str
    mark: int
    added: frozenset[str]
    chains: frozenset[str]


def walk(
    rules: Mapping[str, list[str]], chain: str, mark: int, facts: Mapping[str, bool]
) -> set[End]:
    """Every end of a packet with this mark that comes to a chain. Facts are texts of conditions."""
    found = set()
    for how, after, added, chains in _walk(rules, chain, mark, facts):
        found.add(End(how, after, frozenset(added), frozenset(chains)))
    return found


_State = tuple[str, int, tuple[str, ...], tuple[str, ...]]


def _walk(
    rules: Mapping[str, list[str]], chain: str, mark: int, facts: Mapping[str, bool]
) -> Iterator[_State]:
    if chain in _QUEUES:
        yield _QUEUES[chain], mark, (), (chain,)
        return
    # Marks and sets so far, over all rules of the chain that a packet may have come through.
    states: set[tuple[int, frozenset[str]]] = {(mark, frozenset())}
    for rule in rules.get(chain, []):
        following: set[tuple[int, frozenset[str]]] = set()
        for now, added in states:
            for verdict, after, more in _apply(rule, now, facts):
                if verdict == "":
                    following.add((after, added | more))
                elif verdict.startswith("jump "):
                    for how, last, inner, chains in _walk(rules, verdict[5:], after, facts):
                        if how == "accept":
                            # Its end, wherever it has gone to: on with the next rule.
                            following.add((last, added | more | frozenset(inner)))
                        else:
                            yield how, last, (*added, *more, *inner), (chain, *chains)
                elif verdict.startswith("goto "):
                    for how, last, inner, chains in _walk(rules, verdict[5:], after, facts):
                        yield how, last, (*added, *more, *inner), (chain, *chains)
                else:
                    how = "accept" if verdict == "return" else "refuse"
                    yield how, after, (*added, *more), (chain,)
        states = following
    for now, added in states:
        yield "accept", now, tuple(added), (chain,)


def _apply(
    rule: str, mark: int, facts: Mapping[str, bool]
) -> Iterator[tuple[str, int, frozenset[str]]]:
    """What a rule may do: its verdict or '', the mark and the sets after it."""
    rest, added = rule, frozenset[str]()
    while rest:
        if match := _MARK_IS.match(rest):
            wanted = int(match[3], 16)
            holds = (mark & int(match[1], 16) == wanted) == (match[2] == "==")
            if not holds:
                yield "", mark, added
                return
        elif match := _MARK_SET.match(rest):
            mark = mark & int(match[1], 16) | int(match[2] or "0", 16)
        elif match := _ADD.match(rest):
            # Full, or the packet is of the other family.
            yield "", mark, added
            added |= {match[1]}
        elif match := _UPDATE.match(rest):
            # It is full, not over the limit, or of the other family.
            yield "", mark, added
        elif match := _VERDICT.match(rest):
            yield rest, mark, added
            return
        elif match := _QUIET.match(rest):
            if match[0].startswith("limit"):
                yield "", mark, added
        else:
            condition, rest = _condition(rest)
            known = facts.get(condition)
            if known is not True:
                yield "", mark, added
            if known is False:
                return
            continue
        rest = rest[match.end() :]
    yield "", mark, added


_CONDITION = re.compile(
    r"(.+?) (?=meta mark|add @|update @|goto |jump |return|drop|reject|counter name|limit |log )"
)


def _condition(rest: str) -> tuple[str, str]:
    """All that is looked at up to the next thing that is done."""
    match = _CONDITION.match(rest)
    assert match, f"a rule that only looks: {rest}"
    return match[1], rest[match.end() :]
