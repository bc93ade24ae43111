"""`cnnf clean`: takes back whatever a Defender has left in the kernel, and stops a running one."""

import json
from typing import Annotated

import typer

from cnnf.cli.failure import Failure
from cnnf.cli.lifetime import require_root

#: A Defender takes its rules back and delivers its last counts within a few seconds.
_STOP_SECONDS = 15.0


def clean(
    as_json: Annotated[bool, typer.Option("--json", help="Say what was done as JSON.")] = False,
) -> None:
    """Stop the Defender of this network namespace and remove its rules, sets and changes."""
    require_root("cnnf clean")
    from cnnf.defender.kernel import iptables, table
    from cnnf.defender.kernel.errors import KernelError
    from cnnf.defender.kernel.footprint import Footprint

    footprint = Footprint()
    try:
        rules = table.present() or iptables.present()
        stopped = footprint.stop_other(_STOP_SECONDS)
        footprint.release()
    except KernelError as error:
        raise Failure(str(error)) from error
    if as_json:
        print(json.dumps({"stopped": stopped or None, "rules_removed": rules}))
    elif stopped:
        print(f"Stopped the Defender (process {stopped}) and removed its rules.")
    elif rules:
        print("Removed the rules that a killed Defender had left.")
    else:
        print("There was nothing to clean.")
