"""What may stand on an estate's host: cnnf, nothing, the minimal loop, and others of its kind."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from tests.lab.netns import Namespace

from bench import minimal, policies, rivals
from bench import product as products
from bench.estate import CONTAINER_NETWORKS, OUTBOUND_MANY, SERVICES

CNNF, NONE, NONE_AGAIN = "cnnf", "none", "none-again"
MINIMAL, MINIMAL_AGAIN = "minimal", "minimal-again"
NETFILTERQUEUE, OPENSNITCH = "netfilterqueue", "opensnitch"
NOTHING = frozenset({NONE, NONE_AGAIN})
#: cnnf with policies: (rules, known endpoints).
RULES_FEW, RULES_FEW_AGAIN, RULES_MANY = "rules-10", "rules-10-again", "rules-10000"
_POLICIES = {RULES_FEW: (10, 10), RULES_FEW_AGAIN: (10, 10), RULES_MANY: (10_000, 99_990)}
PRODUCTS = frozenset({CNNF, *_POLICIES})
#: Those that a run does without where they are not to be had.
RIVALS = (NETFILTERQUEUE, OPENSNITCH)

#: How long cnnf may take to name and report what a slot of first-seen flows has left it to do.
SETTLE_SECONDS = 6.0
#: Reading 10,000 rules and 100,000 values, and making tables of them.
_POLICY_START_SECONDS = 180.0
#: The minimal loop's set is emptied before it is full: then it would save itself the remembering.
_FLOWS_KEPT = 65_536


class Contestant(Protocol):
    """One of them, running."""

    def check(self) -> None:
        """Raises BenchError when it has ended."""

    def rest(self, fresh: int) -> None:
        """Wait until it is done with this many flows that it has just seen for the first time."""


class _Nothing:
    def check(self) -> None:
        pass

    def rest(self, fresh: int) -> None:
        pass


class _Cnnf(_Nothing):
    def __init__(self, running: products.Product) -> None:
        self._running = running

    def check(self) -> None:
        self._running.check()

    def rest(self, fresh: int) -> None:
        # Each has to be named and reported; what is remembered leaves nothing to do.
        if fresh:
            self._running.settle(SETTLE_SECONDS)


class _Minimal(_Nothing):
    def __init__(self, running: minimal.MinimalLoop) -> None:
        self._running = running
        self._kept = 0

    def check(self) -> None:
        self._running.check()

    def rest(self, fresh: int) -> None:
        self._kept += fresh
        if self._kept > _FLOWS_KEPT:
            self._running.forget()
            self._kept = 0


def standing(
    name: str, namespace: Namespace, directory: Path
) -> AbstractContextManager[Contestant]:
    """Start it on this namespace, its files in `directory`; stop it at the end.

    Raises BenchError, and Unfit where this machine has not what it needs.
    """
    return _STARTS[name](namespace, directory)


def left_out(name: str) -> str:
    """Fetch what it needs; why this machine cannot have it, '' when it can."""
    if name == NETFILTERQUEUE:
        return rivals.fetch_netfilterqueue()
    if name == OPENSNITCH:
        return rivals.fetch_opensnitch()
    return ""


@contextmanager
def _nothing(namespace: Namespace, directory: Path) -> Iterator[Contestant]:
    yield _Nothing()


@contextmanager
def _cnnf(namespace: Namespace, directory: Path) -> Iterator[Contestant]:
    with products.product(namespace, directory, CONTAINER_NETWORKS) as running:
        yield _Cnnf(running)


def _with_policy(name: str) -> "_Start":
    rules, known = _POLICIES[name]

    @contextmanager
    def start(namespace: Namespace, directory: Path) -> Iterator[Contestant]:
        file = directory / "policy.yaml"
        text = policies.policy(
            SERVICES, rules, known, OUTBOUND_MANY.address, OUTBOUND_MANY.addresses
        )
        file.write_text(text)
        with products.product(
            namespace,
            directory,
            CONTAINER_NETWORKS,
            options=("--policy", str(file)),
            start_seconds=_POLICY_START_SECONDS,
        ) as running:
            yield _Cnnf(running)

    return start


@contextmanager
def _minimal(namespace: Namespace, directory: Path) -> Iterator[Contestant]:
    with minimal.minimal_loop(namespace) as running:
        yield _Minimal(running)


@contextmanager
def _netfilterqueue(namespace: Namespace, directory: Path) -> Iterator[Contestant]:
    with rivals.netfilterqueue(namespace):
        yield _Nothing()


@contextmanager
def _opensnitch(namespace: Namespace, directory: Path) -> Iterator[Contestant]:
    with rivals.opensnitch(namespace, directory):
        yield _Nothing()


_Start = Callable[[Namespace, Path], AbstractContextManager[Contestant]]
_STARTS: dict[str, _Start] = {
    CNNF: _cnnf,
    NONE: _nothing,
    NONE_AGAIN: _nothing,
    MINIMAL: _minimal,
    MINIMAL_AGAIN: _minimal,
    NETFILTERQUEUE: _netfilterqueue,
    OPENSNITCH: _opensnitch,
    **{name: _with_policy(name) for name in _POLICIES},
}
