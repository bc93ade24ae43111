"""Tying a child process to its parent, so that nothing is left behind when the parent is killed."""

import ctypes
import os
import signal
import sys

from cnnf.cli.failure import Failure

_PR_SET_PDEATHSIG = 1
#: Set by `cnnf up` for the programs it starts: the process that must not be outlived.
PARENT_VARIABLE = "CNNF_PARENT"


def end_with_parent() -> None:
    """Let the kernel send us SIGTERM when `cnnf up`, which started us, is gone."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        # It went away before we asked.
        sys.exit(1)


def require_root(what: str) -> None:
    """Raises Failure unless this process may program the kernel."""
    if os.geteuid() != 0:
        raise Failure(
            f"{what} needs root: it programs netfilter and reads other users' sockets",
            hint=f"Run it as: sudo {' '.join(sys.argv)}",
        )
