"""Runs the programs that change the kernel for us: nft, iptables-restore, iptables-save."""

import subprocess

from cnnf.defender.kernel.errors import MissingProgram, NotPermitted, ProgrammingFailed

#: A program that takes longer hangs on a lock that somebody else holds.
_TIMEOUT_SECONDS = 30

PACKAGES = {
    "nft": "nftables",
    "iptables-restore": "iptables",
    "ip6tables-restore": "iptables",
    "iptables-save": "iptables",
    "ip6tables-save": "iptables",
}


def run(command: list[str], *, text: str = "", subject: str) -> str:
    """What the command prints, given `text` on standard input.

    Raises MissingProgram, NotPermitted or ProgrammingFailed, with the program's own words.
    """
    try:
        # Never from our working directory or with our signals: a Ctrl-C must not cut a change.
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        package = PACKAGES.get(command[0], command[0])
        raise MissingProgram(
            f"{subject}: {command[0]} is not installed (package {package})"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ProgrammingFailed(
            f"{subject}: {command[0]} did not end within {_TIMEOUT_SECONDS} s"
        ) from error
    if done.returncode == 0:
        return done.stdout
    words = " ".join(done.stderr.split())[:500]
    if "Operation not permitted" in words or "Permission denied" in words:
        raise NotPermitted(f"{subject}: {words}")
    raise ProgrammingFailed(f"{subject}: {command[0]}: {words or done.returncode}")
