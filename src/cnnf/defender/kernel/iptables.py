"""Takes back the iptables rules of versions that asked through them; known by their comment.

Debian's `iptables` is the nft front end, other systems' the legacy one; a rule added by either is
in force, so both are looked at.
"""

from pathlib import Path

from cnnf.defender.kernel.errors import KernelError, MissingProgram
from cnnf.defender.kernel.programs import run

#: What stood in every iptables rule of ours, so that each is found and removed exactly.
RULE_COMMENT = "cnnf"

_TABLES = ("raw", "security")
_MARKER = f"--comment {RULE_COMMENT} "
_MARKER_QUOTED = f'--comment "{RULE_COMMENT}" '

#: Front ends by family. The plain names are what the administrator chose.
_FRONT_ENDS = ("", "-nft", "-legacy")
_FAMILIES = ("iptables", "ip6tables")
_LEGACY_TABLES = {
    "iptables": Path("/proc/net/ip_tables_names"),
    "ip6tables": Path("/proc/net/ip6_tables_names"),
}


def remove() -> None:
    """Remove our rules from whichever front end has any. Raises KernelError."""
    for family in _FAMILIES:
        for front_end in _FRONT_ENDS:
            if front_end == "-legacy" and not _has_legacy_tables(family):
                # Asking the legacy front end would create its tables.
                continue
            try:
                ours = _ours(family, front_end)
            except MissingProgram:
                continue
            if any(ours.values()):
                _restore(family, front_end, ours)


def present() -> bool:
    """Does any rule of ours stand in the front end in use? Raises KernelError."""
    try:
        return any(any(_ours(family, "").values()) for family in _FAMILIES)
    except MissingProgram:
        return False


def _has_legacy_tables(family: str) -> bool:
    try:
        return bool(_LEGACY_TABLES[family].read_text().split())
    except OSError:
        return False


def _ours(family: str, front_end: str) -> dict[str, list[str]]:
    """Our rules as deletions, by table."""
    found: dict[str, list[str]] = {}
    for table in _TABLES:
        saved = run(
            [f"{family}{front_end}-save", "-t", table], subject=f"reading {family} table {table}"
        )
        found[table] = [
            "-D" + line.removeprefix("-A")
            for line in saved.splitlines()
            if line.startswith("-A ") and (_MARKER in line or _MARKER_QUOTED in line)
        ]
    return found


def _restore(family: str, front_end: str, rules: dict[str, list[str]]) -> None:
    text = "".join(
        f"*{table}\n" + "".join(f"{line}\n" for line in lines) + "COMMIT\n"
        for table, lines in rules.items()
        if lines
    )
    if not text:
        return
    command = [f"{family}{front_end}-restore", "--noflush"]
    if front_end == "-legacy" or _is_legacy(family, front_end):
        command.append("--wait=10")
    run(command, text=text, subject=f"changing {family} rules")


def _is_legacy(family: str, front_end: str) -> bool:
    try:
        return "legacy" in run([f"{family}{front_end}-restore", "--version"], subject="version")
    except KernelError:
        return False
