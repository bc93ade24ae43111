"""What the policy's engine takes: compiling 10,000 rules over 2,000 objects, and deciding by them.

One process, nothing but the engine: what a draft, a test and an import pay. Strangers are two whom
nobody has met; a new pair is of two who were met with others; a seen one comes again. What a
Defender pays is measured by `decision`.
"""

import random
import time
from collections.abc import Sequence
from statistics import median

from bench import companies
from bench.benchmark import Benchmark, Tell
from bench.rows import Row, Target, single
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.decisions import Decisions
from cnnf.policy.endpoints import Candidate
from cnnf.policy.rules import Policy

NAME = "policy"
COMPILE, EVALUATE = "compile-10000", "evaluate-10000"
RULES, OBJECTS = 10_000, 2_000
_PAIRS = 2_000
_ROUNDS_LEAST = 5
_PORTS = (80, 443, 5432, 6379, 8080, 9000, 12_345)


def company(seed: int = 7) -> Policy:
    """The policy that is measured; the same each time."""
    chance = random.Random(seed)
    known = companies.objects(OBJECTS, chance)
    containers, hosts = companies.rules(RULES, known, chance)
    return Policy(objects=tuple(known), containers=tuple(containers), hosts=tuple(hosts))


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    policy = company()
    rows = []
    if COMPILE in cases:
        tell(f"{NAME}-{COMPILE}: compiling")
        half = time.monotonic() + max(0.0, deadline - time.monotonic()) / len(cases)
        times: list[float] = []
        while len(times) < _ROUNDS_LEAST or time.monotonic() < half:
            began = time.perf_counter()
            compile_policy(policy)
            times.append(time.perf_counter() - began)
        rows.append(single(f"{NAME}-{COMPILE}-time", "s", median(times), Target(at_most=1.0)))
    if EVALUATE in cases:
        tell(f"{NAME}-{EVALUATE}: deciding")
        rows += _evaluated(compile_policy(policy), deadline)
    return rows


def _evaluated(compiled: Compiled, deadline: float) -> list[Row]:
    chance = random.Random(11)
    times: dict[str, list[float]] = {"strangers": [], "new": [], "seen": []}
    while len(times["new"]) < _ROUNDS_LEAST or time.monotonic() < deadline:
        # Each round meets others than the rounds before.
        release = len(times["new"])
        there = [companies.candidate(chance, release) for _ in range(2 * _PAIRS)]
        ports = chance.choices(_PORTS, k=_PAIRS)
        decisions = Decisions(compiled)
        first = list(zip(there[::2], there[1::2], ports, strict=True))
        other = list(zip(there[1::2], there[::2], ports, strict=True))
        times["strangers"].append(_timed(decisions, first))
        times["new"].append(_timed(decisions, other))
        times["seen"].append(_timed(decisions, other))
    prefix = f"{NAME}-{EVALUATE}"
    return [
        single(f"{prefix}-strangers", "us", median(times["strangers"])),
        single(f"{prefix}-new", "us", median(times["new"]), Target(at_most=20.0)),
        single(f"{prefix}-seen", "us", median(times["seen"]), Target(at_most=1.0)),
    ]


def _timed(decisions: Decisions, pairs: list[tuple[Candidate, Candidate, int]]) -> float:
    """Microseconds a decision."""
    of = decisions.of
    began = time.perf_counter()
    for source, destination, port in pairs:
        of(source, destination, port, "tcp")
    return (time.perf_counter() - began) / len(pairs) * 1e6


BENCHMARK = Benchmark(name=NAME, cases={COMPILE: 15.0, EVALUATE: 15.0}, measure=_measure)
