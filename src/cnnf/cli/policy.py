"""`cnnf policy`: policies as files, judged and checked without a Console or a Defender."""

import typer

from cnnf.cli import policy_judging

app = typer.Typer(help="Judge flows by a policy file, check it, compare it.", no_args_is_help=True)

app.command("test")(policy_judging.judge)
