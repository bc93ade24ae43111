"""Every folder says what it is, no file grows without a reason, nothing is left for later."""

import ast
import re

from tests.architecture.sources import PACKAGE, modules, parse

LINES_MAX = 500
#: What stands in a module's docstring that is longer, before its reason.
REASON = "One file because"

_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|[Ss]tub|[Pp]laceholder)\b")


def test_every_folder_with_modules_is_a_package_with_a_docstring() -> None:
    folders = {path.parent for path in modules()}
    for folder in sorted(folders):
        initial = folder / "__init__.py"
        assert initial.exists(), f"{folder.relative_to(PACKAGE)}: no __init__.py"
        assert ast.get_docstring(parse(initial)), f"{initial.relative_to(PACKAGE)}: no docstring"


def test_every_module_says_why_it_exists() -> None:
    without = [path for path in modules() if not ast.get_docstring(parse(path))]
    assert [str(path.relative_to(PACKAGE)) for path in without] == []


def test_long_modules_say_why() -> None:
    for path in modules():
        lines = len(path.read_text("utf-8").splitlines())
        documented = REASON in (ast.get_docstring(parse(path)) or "")
        assert lines <= LINES_MAX or documented, f"{path.relative_to(PACKAGE)}: {lines} lines"


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in modules()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if _UNFINISHED.search(line)
    ]
    assert found == []
