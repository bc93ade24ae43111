"""Our rules flushed, deleted, added to and refused under traffic: put back, and told by whom."""

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from cnnf.defender.kernel import elements
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER, NetlinkSocket
from tests.kernel.guarded import POLICY, Guarded, conditions, first, guarded, running, tells
from tests.kernel.test_ruleset_watch import big_set, nft
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.lab.product import Product, eventually
from tests.lab.wrapped import Wrapped

pytestmark = pytest.mark.kernel

#: What is promised, and what a busy machine takes on top.
RESTORED_S = 5.0 + 3.0

ALLOWED, BARRED = range(7440, 7444), range(7540, 7544)
LANES = "7440-7443 7540-7543"


@pytest.fixture(scope="module")
def nft_refuses(tmp_path_factory: pytest.TempPathFactory) -> Wrapped:
    """An nft that can refuse the first thing that it is asked."""
    refuse = '[ $number = 1 ] && echo "Could not process rule: File exists" >&2 && exit 1'
    return Wrapped(tmp_path_factory.mktemp("nft"), "nft", refuse)


@pytest.fixture(scope="module")
def standing(
    tmp_path_factory: pytest.TempPathFactory, nft_refuses: Wrapped
) -> Iterator[tuple[Guarded, Product]]:
    """cnnf on a host of its own."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    path = os.environ["PATH"]
    with guarded(tmp_path_factory.mktemp("rules")) as host:
        os.environ["PATH"] = nft_refuses.path(path)
        try:
            context = running(host)
            product = context.__enter__()
        finally:
            os.environ["PATH"] = path
        yield host, product
        context.__exit__(None, None, None)


def by_chain(here: Namespace) -> Counter[str]:
    """How many rules each chain of our table has, as the nft program lists them."""
    found: Counter[str] = Counter()
    chain = ""
    for raw in here.run("nft", "-s", "list", "table", "inet", "cnnf", check=False).splitlines():
        line = raw.strip()
        if line.startswith("chain "):
            chain = line.split()[1]
        elif line == "}":
            chain = ""
        elif chain and line and not line.startswith("type "):
            found[chain] += 1
    return found


def handle(here: Namespace, chain: str) -> str:
    """The handle of a chain's first rule."""
    listed = here.run("nft", "-a", "list", "chain", "inet", "cnnf", chain)
    handles: list[str] = re.findall(r"# handle (\d+)", listed)
    return handles[1]


def table_handle(here: Namespace) -> str:
    """The number of our table, which another of the same name has not."""
    listed = here.run("nft", "-a", "-t", "list", "table", "inet", "cnnf")
    assert listed.startswith("table inet cnnf { # handle ")
    return listed.splitlines()[0]


def flush_iptables(here: Namespace) -> None:
    for family in ("iptables", "ip6tables"):
        for table in ("filter", "nat", "mangle", "raw", "security"):
            here.run(family, "-t", table, "-F")


#: What somebody does to us, by name; each with the program that does it.
DISTURBANCES = {
    "flush ruleset": lambda here: here.run("nft", "flush", "ruleset"),
    "flush table": lambda here: here.run("nft", "flush", "table", "inet", "cnnf"),
    "delete table": lambda here: here.run("nft", "delete", "table", "inet", "cnnf"),
    "delete handover": lambda here: here.run(
        *("nft", "delete", "rule", "inet", "cnnf", "handover", "handle"), handle(here, "handover")
    ),
    "accept first": lambda here: here.run(
        "nft", "insert", "rule", "inet", "cnnf", "at_input", "accept"
    ),
    "a rule twice": lambda here: here.run(
        *("nft", "add rule inet cnnf input_flagged meta l4proto != tcp return;"),
        "add rule inet cnnf input_flagged meta l4proto != tcp return",
    ),
    "another chain": lambda here: here.run(
        "nft",
        "add chain inet cnnf mine { type filter hook input priority 80; }; "
        "add rule inet cnnf mine tcp dport 7540-7543 accept",
    ),
    "a rule replaced": lambda here: here.run(
        *("nft", "replace", "rule", "inet", "cnnf", "at_input"),
        *("handle", handle(here, "at_input"), "accept"),
    ),
}


@pytest.mark.parametrize("what", DISTURBANCES)
def test_what_somebody_changes_is_put_back(standing: tuple[Guarded, Product], what: str) -> None:
    host, product = standing
    here = host.here
    before = by_chain(here)
    stream = host.stream(LANES)
    first(stream, 0, lambda one: one.outcome == "refused", 3.0)
    DISTURBANCES[what](here)
    changed = time.monotonic()
    eventually(lambda: by_chain(here) == before, RESTORED_S, "the rules")
    # No rule twice, no chain of somebody else's with rules in it, and prevents hold.
    for _ in range(20):
        moment = time.monotonic()
        seen = first(stream, moment, lambda one: one.port in BARRED, 3.0)
        if seen.outcome == "refused":
            break
    else:
        raise AssertionError("what is barred still passes")
    restored = time.monotonic()
    assert restored - changed < RESTORED_S
    time.sleep(0.5)
    stream.end()
    assert stream.outcomes(ports=ALLOWED) == {"ok"}
    assert stream.outcomes(restored, BARRED) == {"refused"}
    tells(product, "rules-restored", "by nft")
    assert by_chain(here) == before
    assert "rules-failed" not in conditions(product)


def test_flushing_iptables_is_nothing_to_us(standing: tuple[Guarded, Product]) -> None:
    """Nothing of ours stands there; and other tables' changes don't make us put ours back."""
    host, _ = standing
    before = table_handle(host.here)
    stream = host.stream(LANES)
    first(stream, 0, lambda one: one.outcome == "refused", 3.0)
    flush_iptables(host.here)
    host.here.run("nft", "add", "table", "inet", "other")
    # A look for changes, and another.
    time.sleep(5.0)
    stream.end()
    assert stream.outcomes(ports=ALLOWED) == {"ok"}
    assert stream.outcomes(ports=BARRED) == {"refused"}
    host.here.run("nft", "delete", "table", "inet", "other")
    # The same table still: its handle is another when it was put there anew.
    assert table_handle(host.here) == before


def test_a_refused_change_leaves_what_was_and_is_tried_again(
    standing: tuple[Guarded, Product], nft_refuses: Wrapped
) -> None:
    """The old policy holds while the kernel refuses the new one, which then comes by itself."""
    host, product = standing
    stream = host.stream(LANES)
    first(stream, 0, lambda one: one.outcome == "refused", 3.0)
    nft_refuses.on()
    host.policy.write_text(POLICY.replace("effect: prevent", "effect: allow"))
    try:
        tells(product, "rules-failed", "File exists")
        assert nft_refuses.runs >= 1
        passed = first(stream, 0, lambda one: one.port in BARRED and one.outcome == "ok", 6.0)
        eventually(lambda: "rules-failed" not in conditions(product), 6.0, "the end of it")
        assert "internal" not in conditions(product)
    finally:
        nft_refuses.off()
        host.policy.write_text(POLICY)
    eventually(lambda: stream.since(time.monotonic() - 0.3, BARRED)[-1:] and
               stream.since(time.monotonic() - 0.3, BARRED)[-1].outcome == "refused",
               10.0, "the old policy")  # fmt: skip
    stream.end()
    assert stream.outcomes(ports=ALLOWED) == {"ok"}
    # Until then it was refused, and never anything else.
    assert {one.outcome for one in stream.since(0, BARRED) if one.began < passed.began} == {
        "refused"
    }


def test_the_table_goes_just_before_a_change(
    standing: tuple[Guarded, Product], nft_refuses: Wrapped
) -> None:
    """A change finds nothing to change: the table is put there as it has to be now."""
    host, _ = standing
    stream = host.stream(LANES)
    first(stream, 0, lambda one: one.outcome == "refused", 3.0)
    host.policy.write_text(POLICY.replace(f"{BARRED[0] - 40}-", f"{BARRED[0]}-"))
    host.here.run("nft", "delete", "table", "inet", "cnnf")
    time.sleep(RESTORED_S)
    mended = time.monotonic()
    time.sleep(0.5)
    stream.end()
    host.policy.write_text(POLICY)
    assert stream.outcomes(ports=ALLOWED) == {"ok"}
    assert stream.outcomes(mended, BARRED) == {"refused"}
    assert by_chain(host.here)["handover"] == 1


def test_20000_elements_are_read_whole_while_rules_change(
    standing: tuple[Guarded, Product],
) -> None:
    """Somebody commits all the time; what is read is whole, each element once."""
    host, _ = standing
    with host.here.entered():
        nft(big_set(20_000))
        done = threading.Event()
        commits: list[int] = []

        def disturb() -> None:
            with host.here.entered():
                while not done.is_set():
                    nft("add table ip disturbing\ndelete table ip disturbing")
                    commits.append(1)
                    done.wait(0.02)

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        netlink = NetlinkSocket(NETLINK_NETFILTER)
        try:
            # A reading may be quicker than a commit: on until there were enough of both.
            readings, deadline = 0, time.monotonic() + 20
            while (readings < 5 or len(commits) <= 5) and time.monotonic() < deadline:
                readings += 1
                keys = [one.key for one in elements.read(netlink, "many", "s")]
                assert (len(keys), len(set(keys))) == (20_000, 20_000)
        finally:
            netlink.close()
            done.set()
            disturbing.join()
            nft("delete table inet many")
        assert readings >= 5
        assert len(commits) > 5
