"""`make bench`: runs the benchmarks, prints their table and writes it as JSON.

Exits 0, 1 when something could not be measured, 2 for a wrong flag, 130 after Ctrl-C. Whatever the
end, nothing is left behind.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.errors import BenchError, Unfit
from bench.registry import benchmarks, chosen
from bench.rows import Row, as_json, as_table

_RESULTS = Path(__file__).parent / "results" / "latest.json"
_SECONDS_LEAST, _SECONDS_MOST = 10.0, 7200.0
#: `--quick`: the share of the usual time, for a look while something is being changed.
_QUICK = 0.2
#: Debian's packages of the programs that are needed.
_PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sysctl": "procps",
    "nft": "nftables",
    "iptables": "iptables",
}
#: How often progress is told where it cannot be written over, in a log.
_LINE_SECONDS = 10.0
_told_at = -_LINE_SECONDS


def main() -> int:
    """The program's entry; its exit code."""
    options = _parse()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run(options)
    except KeyboardInterrupt:
        _tell("interrupted; nothing is left behind", last=True)
        return 130
    except BenchError as error:
        _new_line()
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (AssertionError, subprocess.TimeoutExpired, OSError) as error:
        # A command that made or removed a namespace says so by these.
        _new_line()
        print(f"bench: the estates: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    wanted = chosen(benchmarks(), options.names)
    _require()
    from bench.estate import remove_left

    started = time.monotonic()
    rows: list[Row] = []
    failed = False
    usual = sum(benchmark.cases[case] for benchmark, cases in wanted for case in cases)
    seconds = options.seconds or usual * (_QUICK if options.quick else 1.0)
    remove_left()
    try:
        for benchmark, cases in wanted:
            own = sum(benchmark.cases[case] for case in cases)
            deadline = time.monotonic() + seconds * own / usual
            try:
                rows += benchmark.measure(cases, deadline, _tell)
            except Unfit as error:
                _tell(f"left out: {benchmark.name}: {error}", last=True)
            except BenchError as error:
                # What others have measured is not lost by one that could not.
                _new_line()
                print(f"bench: {benchmark.name}: {error}", file=sys.stderr)
                failed = True
    finally:
        _ignore_signals()
        remove_left()
    _tell(f"done after {time.monotonic() - started:.0f} s", last=True)
    # The table comes first: it is there even where the file cannot be written.
    print(as_table(rows), end="", flush=True)
    _write(options.json, as_json(rows))
    print(f"\nThe same as JSON: {options.json}", flush=True)
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure what cnnf costs, against none in the same run."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help="measure only what is called so, or begins so",
    )  # fmt: skip
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="how long all of it may take")
    parser.add_argument(
        "--quick", action="store_true",
        help=f"take {_QUICK * 100:.0f} percent of the usual time: a look, no claim",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=Path, default=_RESULTS, metavar="PATH", help="where the rows are written"
    )
    return parser.parse_args()


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not _SECONDS_LEAST <= value <= _SECONDS_MOST:
        raise argparse.ArgumentTypeError(
            f"{text} is not between {_SECONDS_LEAST:.0f} and {_SECONDS_MOST:.0f}"
        )
    return value


def _require() -> None:
    """Raises Unfit when this machine cannot do it."""
    if os.geteuid() != 0:
        raise Unfit("needs root: it makes network namespaces and runs cnnf; run: sudo make bench")
    missing = sorted({package for name, package in _PROGRAMS.items() if not shutil.which(name)})
    if missing:
        raise Unfit(f"programs are missing; install them: apt-get install {' '.join(missing)}")


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BenchError(f"writing {path}: {error.strerror}") from error


def _tell(line: str, last: bool = False) -> None:
    """Show progress: on a terminal in one line that is written over, else a line now and then."""
    global _told_at
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if last else ""))
    elif last or time.monotonic() - _told_at >= _LINE_SECONDS:
        sys.stderr.write(f"{line}\n")
        _told_at = time.monotonic()
    sys.stderr.flush()


def _new_line() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")


def _interrupt(number: int, frame: object) -> None:
    # A second Ctrl-C must not cut the cleaning up.
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
