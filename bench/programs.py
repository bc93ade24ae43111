"""The programs in C that a run needs: compiled when needed, one source each, beside this file."""

import os
import selectors
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.netns import Namespace

from bench.errors import BenchError, Unfit

_HERE = Path(__file__).parent
BUILD = _HERE / "build"
_FLAGS = ("-O2", "-Wall", "-Wextra", "-std=gnu11")

_BUILD_SECONDS = 60.0
_READY_SECONDS = 5.0


def compiled(name: str) -> Path:
    """The program made from NAME.c, compiled unless it is newer. Raises Unfit or BenchError."""
    source, program = _HERE / f"{name}.c", BUILD / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Unfit(f"no C compiler to build {source.name}; install it: apt-get install gcc")
    BUILD.mkdir(exist_ok=True)
    # Another run may be using the program: it gets the new one as a whole or not at all.
    partial = program.with_suffix(f".{os.getpid()}")
    command = (compiler, *_FLAGS, "-o", str(partial), str(source))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
        if done.returncode != 0:
            hint = "; install libc6-dev" if "stdio.h" in done.stderr else ""
            raise BenchError(f"building {source.name}{hint}:\n{done.stderr.strip()}")
        partial.replace(program)
    finally:
        partial.unlink(missing_ok=True)
    return program


@contextmanager
def running(namespace: Namespace, *command: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A program in a namespace that says "ready", until the end. Raises BenchError."""
    process = namespace.start(
        *("setpriv", "--pdeathsig", "KILL", *command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(_READY_SECONDS) else b""
        if line.strip() != b"ready":
            raise BenchError(f"{' '.join(command)}: did not start")
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
