"""Pure packages take values and return values: what they may import, and what they may not call.

An allow-list, so that a module nobody has thought about is refused. Whoever adds an entry says why
it is values in, values out.
"""

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, modules, name_of, parse

#: Packages that are pure, and the modules beside them that they may use and that are as pure.
PURE = ("policy", "protocol", "defender/core", "defender/netlink", "console/core")
PURE_BESIDE = ("console/errors.py", "console/limits.py")

ALLOWED = {
    "bisect": "searching sorted values",
    "collections": "containers",
    "collections.abc": "types of values",
    "contextlib": "control flow, no resources of its own",
    "dataclasses": "values",
    "datetime": "arithmetic on moments that are handed in; asking the clock is refused below",
    "enum": "values",
    "errno": "the kernel's numbers by name",
    "functools": "functions of functions",
    "hashlib": "a digest of bytes is the same everywhere",
    "heapq": "the largest of many",
    "ipaddress": "addresses as values",
    "itertools": "iteration over values",
    "math": "numbers",
    "msgspec": "values, and their bytes and back",
    "operator": "functions of values",
    "re": "patterns over text",
    "struct": "bytes and numbers",
    "typing": "types of values",
    "yaml": "text into nodes and back; only the parser and writer of texts in memory",
    "yaml.resolver": "what YAML reads in a plain text",
    "zlib": "a checksum of bytes",
    "zstandard": "bytes smaller and back; only its in-memory objects are used",
    "__future__": "no module at all",
}

#: Built-in functions that reach out of the program, or run text as a program.
REFUSED_CALLS = frozenset(
    {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
)
#: Names that ask a clock (datetime), sleep, or roll dice, whatever they are called on.
REFUSED_ATTRIBUTES = frozenset(
    {"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "sleep"}
)


def pure_modules() -> list[Path]:
    """Every module of a pure package, and the few beside them."""
    inside = [path for package in PURE for path in modules(PACKAGE / package)]
    return inside + [PACKAGE / name for name in PURE_BESIDE]


PURE_NAMES = frozenset(map(name_of, pure_modules()))


def imported(tree: ast.Module) -> set[str]:
    """Every module that a tree imports, wherever in it; names that may be modules are tried too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                found.add(submodule if submodule in PURE_NAMES else module)
    return found


def refused(path: Path, tree: ast.Module) -> list[str]:
    """What a pure module does that it must not, with its line."""
    wrong = [f"imports {name}" for name in imported(tree) if name not in {*ALLOWED, *PURE_NAMES}]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        target = node.func
        if isinstance(target, ast.Name) and target.id in REFUSED_CALLS:
            wrong.append(f"line {node.lineno}: calls {target.id}()")
        if isinstance(target, ast.Attribute) and target.attr in REFUSED_ATTRIBUTES:
            wrong.append(f"line {node.lineno}: calls .{target.attr}()")
    return [f"{path.relative_to(PACKAGE)}: {one}" for one in wrong]


def test_pure_packages_import_and_call_nothing_impure() -> None:
    assert [one for path in pure_modules() for one in refused(path, parse(path))] == []


def test_every_allowed_module_is_there_for_a_reason() -> None:
    assert all(reason.strip() for reason in ALLOWED.values())


@pytest.mark.parametrize(
    "text",
    [
        "import socket",
        "import os.path",
        "from time import time_ns",
        "from cnnf.defender.kernel import table",
        "from cnnf.console import store",
        "from . import kernel",
        "def f():\n    import logging",
        "with open('x') as f: pass",
        "print('x')",
        "eval('1')",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import date\ndate.today()",
        "__import__('os')",
    ],
)
def test_the_test_finds_what_it_looks_for(text: str) -> None:
    assert refused(PACKAGE / "policy" / "x.py", ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "from cnnf.console import limits",
        "import msgspec, re\nre.match('a', 'b')",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(1, UTC)",
    ],
)
def test_the_test_lets_values_pass(text: str) -> None:
    assert refused(PACKAGE / "console" / "core" / "x.py", ast.parse(text)) == []
