"""`cnnf policy`: policies as files, judged and checked without a Console or a Defender."""

import typer

from cnnf.cli import (
    policy_checking,
    policy_comparing,
    policy_judging,
    policy_kubernetes,
    policy_whatif,
)

app = typer.Typer(help="Judge flows by a policy file, check it, compare it.", no_args_is_help=True)

app.command("test")(policy_judging.judge)
app.command("check")(policy_checking.check)
app.command("diff")(policy_comparing.diff)
app.command("format")(policy_comparing.canonical)
app.command("import")(policy_kubernetes.import_)
app.command("export")(policy_kubernetes.export)
app.command("what-if")(policy_whatif.what_if)
