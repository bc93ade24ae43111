"""`cnnf doctor`: whether this machine has what the Defender needs, and how to mend the rest."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cnnf.cli.defender import LogGroup, MarkMask, Queue, Queues
from cnnf.cli.failure import Failure

_SIGNS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red bold]fail[/]"}
#: As many loops as a Defender starts by itself, at most.
_QUEUES_MAX = 4


def doctor(
    queue: Queue = 8030,
    queues: Queues = 0,
    log_group: LogGroup = 8030,
    mark_mask: MarkMask = "0x3c00",
    docker_socket: Annotated[
        # A socket that may not be read is a finding here, not wrong usage.
        Path, typer.Option(help="The Docker Engine's socket.", readable=False)
    ] = Path("/var/run/docker.sock"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try what the Defender needs of this machine; exit 1 when it could not do its work."""
    from cnnf.defender.core.marks import marks_at
    from cnnf.defender.discovery.checks import check_cgroups, check_docker
    from cnnf.defender.kernel.checks import checks
    from cnnf.policy.errors import InvalidValueError

    try:
        mask = marks_at(int(mark_mask, 0)).mask
    except (ValueError, InvalidValueError) as error:
        raise Failure(f"--mark-mask {mark_mask}: {error}", exit_code=2) from error
    count = queues or min(os.cpu_count() or 1, _QUEUES_MAX)
    found = [
        *checks(range(queue, queue + count), log_group, mask),
        check_cgroups(),
        check_docker(docker_socket),
    ]
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        table = Table("", "what", "how it stands", box=None, pad_edge=False)
        for check in found:
            text = check.detail + (f"\n→ {check.mend}" if check.mend else "")
            table.add_row(_SIGNS[check.state], check.title, _plain(text))
        Console(highlight=False).print(table)
    if any(check.state == "fail" for check in found):
        raise typer.Exit(1)


def _plain(text: str) -> str:
    """Text of rules and programs, which may hold square brackets, for Rich."""
    return text.replace("[", r"\[")
