"""Tying a child process to its parent, so that nothing is left behind when the parent is killed."""

import ctypes
import os
import signal
import sys

from cnnf.cli.failure import Failure

_PR_SET_PDEATHSIG = 1
#: Set by `cnnf up` for the programs it starts: the process that must not be outlived.
PARENT_VARIABLE = "CNNF_PARENT"


def parent() -> int:
    """The process of `cnnf up` that started us; 0 when we were started alone."""
    text = os.environ.get(PARENT_VARIABLE, "")
    return int(text) if text.isdigit() else 0


def end_with_parent() -> None:
    """Let the kernel send us SIGTERM when `cnnf up`, which started us, is gone."""
    started_by = parent()
    if not started_by:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != started_by:
        # It went away before we asked.
        sys.exit(1)


def require_root(what: str) -> None:
    """Raises Failure unless this process may program the kernel."""
    if os.geteuid() != 0:
        raise Failure(
            f"{what} needs root: it programs netfilter and reads other users' sockets",
            hint=f"Run it as: sudo {' '.join(sys.argv)}",
        )
