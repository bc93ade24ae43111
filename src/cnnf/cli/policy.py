"""`cnnf policy`: policies as files, judged and checked without a Console or a Defender; and the
policy in force at a Console."""

import typer

from cnnf.cli import (
    policy_checking,
    policy_comparing,
    policy_console,
    policy_judging,
    policy_kubernetes,
    policy_quarantine,
    policy_seen,
    policy_whatif,
)

app = typer.Typer(
    help="Judge flows by a policy file, check it, compare it; put it in force at the Console.",
    no_args_is_help=True,
)

app.command("test")(policy_judging.judge)
app.command("check")(policy_checking.check)
app.command("diff")(policy_comparing.diff)
app.command("format")(policy_comparing.canonical)
app.command("import")(policy_kubernetes.import_)
app.command("export")(policy_kubernetes.export)
app.command("what-if")(policy_whatif.what_if)
app.command("apply")(policy_console.apply)
app.command("show")(policy_console.show)
app.command("history")(policy_console.history)
app.command("rollback")(policy_console.rollback)
app.command("hits")(policy_console.hits)
app.command("seen")(policy_seen.seen)
app.add_typer(policy_quarantine.app, name="quarantine")
