"""What the size of a policy costs a first contact: 10,000 rules and 100,000 endpoints against 10.

Two estates whose Defenders have policies of either size, and a third with the small one again. The
same first contacts are made in each, by a service that all the rules are about; all are allowed.
"""

from collections.abc import Sequence

from bench import estate as estates
from bench import field
from bench.benchmark import Benchmark, Tell
from bench.contestants import RULES_FEW, RULES_FEW_AGAIN, RULES_MANY
from bench.field import Case
from bench.rows import Row, Target
from bench.series import Comparison

NAME = "decision"

_CASE = Case(
    name=RULES_MANY,
    way="outbound",
    target=estates.OUTBOUND_MANY,
    in_flight=1,
    fresh=True,
    seconds=80.0,
    comparisons=(
        Comparison(of=RULES_MANY, against=RULES_FEW, targets={"p50": Target(at_most=1.2)}),
        Comparison(of=RULES_FEW_AGAIN, against=RULES_FEW, suffix="-again"),
    ),
)


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    return field.measured(NAME, (_CASE,), deadline, tell)


BENCHMARK = Benchmark(name=NAME, cases={_CASE.name: _CASE.seconds}, measure=_measure)
