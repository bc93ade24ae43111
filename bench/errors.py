"""What ends a benchmark.

BenchError
└── Unfit      this machine cannot run it: not root, a program missing
"""


class BenchError(Exception):
    """A figure could not be measured; the message says what and why."""


class Unfit(BenchError):
    """The machine lacks something; the message says what to do about it."""
