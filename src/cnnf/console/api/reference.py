"""Writes the generated reference: `python -m cnnf.console.api.reference DIRECTORY`.

`openapi.json` is what the pages' types are generated from; `limits.md` lists every bound with the
comment that justifies it. A test fails when the committed files differ from what this writes.
"""

import io
import json
import sys
import tokenize
from pathlib import Path

import cnnf.console.limits
import cnnf.policy.limits
import cnnf.protocol.limits
from cnnf.console.api.applications import document

_PROGRAMS = (
    ("The Console", cnnf.console.limits),
    ("Between Defender and Console", cnnf.protocol.limits),
    ("A policy", cnnf.policy.limits),
)
_HEAD = """\
# Limits

Every queue, cache and message of cnnf has a named maximum. This page is generated from the
programs' `limits.py`.
"""


def files() -> dict[str, str]:
    """The reference, by file name."""
    parts = [_HEAD]
    for title, module in _PROGRAMS:
        assert module.__file__ is not None
        values = {name: value for name, value in vars(module).items() if name.isupper()}
        parts += [f"\n## {title}\n", "| limit | value | what for |", "|---|---|---|"]
        parts += [
            f"| `{name}` | {values[name]:,} | {why} |"
            for name, why in _reasons(Path(module.__file__).read_text(encoding="utf-8"))
        ]
    return {
        "openapi.json": json.dumps(document(), indent=1, ensure_ascii=False) + "\n",
        "limits.md": "\n".join(parts) + "\n",
    }


def _reasons(source: str) -> list[tuple[str, str]]:
    """Each limit with the `#:` comment above it; those that follow at once share it."""
    found: list[tuple[str, str]] = []
    reason: list[str] = []
    fresh = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#:"):
            reason = [*reason, token.string[2:].strip()] if fresh else [token.string[2:].strip()]
            fresh = True
        elif token.type == tokenize.NAME and token.start[1] == 0 and token.string.isupper():
            found.append((token.string, " ".join(reason)))
            fresh = False
        elif token.type == tokenize.NL and not token.line.strip():
            reason, fresh = [], False
    return found


def main() -> None:
    """The command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m cnnf.console.api.reference DIRECTORY")
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
