"""What a program is called that belongs to no unit: interpreters by what they run.

Pure. The executable's name is the kernel's word; what an interpreter runs is the word of its
command line, which the process may write as it likes. So a name from here tells what somebody says
that it is: rules that must hold name a unit, a host or an address (see the threat model).
"""

import re
from collections.abc import Sequence
from itertools import islice

from cnnf.defender.core.containers import clean_text
from cnnf.protocol.limits import NAME_CHARS_MAX

#: The name of a process of which nothing is known: it went away before it was looked at.
UNKNOWN = "unknown"

#: Arguments that are looked at for a name; more options than that come before no script.
ARGUMENTS_MAX = 256

_VERSIONED = re.compile(r"[.-]?\d+(?:\.\d+)*\Z")
_JAR_VERSION = re.compile(r"[-_]v?\d+(?:\.\d+)*(?:[-.][A-Za-z0-9]+)*\Z")
#: A dynamic loader that was called with a program.
_LOADER = re.compile(r"ld-(?:linux|musl)[\w.-]*\.so(?:\.\d+)*\Z")
#: `gunicorn: master [app:app]`, `[celeryd: worker]`, `puma 5.6 (tcp://…)`.
_TITLE = re.compile(r"[\[(]?(?P<word>[^\s:\]\[()]+)")

_SHELLS = frozenset(("bash", "dash", "sh", "ash", "zsh", "ksh", "mksh"))
_INTERPRETERS = _SHELLS | frozenset(
    ("python", "pypy", "node", "nodejs", "bun", "deno", "ruby", "perl", "php", "lua", "luajit",
     "java", "dotnet", "mono", "tclsh", "Rscript", "guile")
)  # fmt: skip
#: Programs that are many: which one is the name they were called by.
_MULTICALL = frozenset(("busybox", "toybox", "coreutils"))
#: Options that are followed by a value, so that the value is not taken for the script.
_VALUED = {
    **dict.fromkeys(_SHELLS, frozenset(("-o", "+o", "-O", "+O", "--rcfile", "--init-file"))),
    "python": frozenset(("-W", "-X", "-Q", "--check-hash-based-pycs")),
    "pypy": frozenset(("-W", "-X", "--jit")),
    **dict.fromkeys(
        ("node", "nodejs"),
        frozenset(
            ("-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file",
             "-C", "--conditions", "--icu-data-dir", "--title")
        ),
    ),
    "bun": frozenset(("-r", "--preload", "--cwd", "--env-file", "-c", "--config")),
    "deno": frozenset(("-c", "--config", "--import-map", "--lock", "--cert", "--location")),
    "ruby": frozenset(("-I", "-r", "-C", "-E", "--encoding")),
    "perl": frozenset(("-I", "-M", "-m")),
    "php": frozenset(("-c", "-d", "-S", "-t", "-z")),
    "java": frozenset(
        ("-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path",
         "--add-modules", "--add-opens", "--add-exports", "--add-reads", "--patch-module",
         "--limit-modules", "--source")
    ),
    "dotnet": frozenset(
        ("--additionalprobingpath", "--additional-deps", "--depsfile", "--runtimeconfig",
         "--fx-version", "--roll-forward")
    ),
    **dict.fromkeys(("lua", "luajit"), frozenset(("-l",))),
    "loader": frozenset(("--library-path", "--preload", "--argv0", "--audit", "--inhibit-rpath")),
}  # fmt: skip
#: Options after which there is no script: the program is on the command line itself.
_INLINE = {
    "python": frozenset(("-c", "-")),
    "pypy": frozenset(("-c", "-")),
    "node": frozenset(("-e", "--eval", "-p", "--print", "-")),
    "nodejs": frozenset(("-e", "--eval", "-p", "--print", "-")),
    "bun": frozenset(("-e", "--eval", "-p", "--print", "-")),
    "ruby": frozenset(("-e", "-")),
    "perl": frozenset(("-e", "-E", "-")),
    "php": frozenset(("-r", "-R")),
    "lua": frozenset(("-e", "-")),
    "luajit": frozenset(("-e", "-")),
    "Rscript": frozenset(("-e",)),
}
#: A first argument that says how to run what comes next.
_SUBCOMMANDS = {
    "deno": frozenset(("run", "serve", "task")),
    "bun": frozenset(("run",)),
    "dotnet": frozenset(("exec", "run")),
}
_SCRIPT_ENDS = (
    ".py", ".pyc", ".pyz", ".js", ".mjs", ".cjs", ".ts", ".mts", ".rb", ".pl", ".php", ".phar",
    ".sh", ".bash", ".lua", ".tcl", ".R", ".dll", ".exe",
)  # fmt: skip


def program_name(executable: str, command: Sequence[str] = ()) -> str:
    """The program's name; for an interpreter that of what it runs, for busybox the applet's.

    `executable` is the path that the kernel gives (` (deleted)` and all), `command` the arguments
    with the program's own first. Any may be empty; never fails.
    """
    program = _basename(executable.removesuffix(" (deleted)"))
    if command and (not program or program.startswith("memfd:")):
        program = _basename(command[0])
    arguments = _words(command)
    if _LOADER.match(program):
        return _script("loader", arguments[1:]) or clean_text(program, NAME_CHARS_MAX)
    stem = _VERSIONED.sub("", program) or program
    if stem in _MULTICALL:
        return _applet(stem, arguments)
    if stem in _INTERPRETERS:
        return _interpreted(stem, arguments) or clean_text(stem)
    return clean_text(program, NAME_CHARS_MAX) or UNKNOWN


def _words(command: Sequence[str]) -> list[str]:
    """The arguments that are looked at; a title that begins as a command line is cut into them."""
    arguments = list(islice(command, ARGUMENTS_MAX))
    if len(arguments) == 1:
        first, _, rest = arguments[0].strip().partition(" ")
        stem = _VERSIONED.sub("", _basename(first))
        if rest and (stem in _INTERPRETERS or stem in _MULTICALL):
            return [first, *rest.split()[: ARGUMENTS_MAX - 1]]
    return arguments


def _interpreted(interpreter: str, arguments: Sequence[str]) -> str:
    if len(arguments) == 1:
        # No script: an interpreter by itself, or a process that wrote a title over its arguments.
        match = _TITLE.match(arguments[0].strip())
        word = _basename(match["word"].removeprefix("-")) if match else ""
        same = _VERSIONED.sub("", word) in _INTERPRETERS
        return "" if same else _without_end(word)
    return _script(interpreter, arguments[1:])


def _basename(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _applet(program: str, arguments: Sequence[str]) -> str:
    for at, argument in enumerate(arguments[:2]):
        name = clean_text(_basename(argument.lstrip("-")))
        if name and name != program:
            # busybox's shell is an interpreter like any other.
            is_shell = name in _SHELLS
            return (_script(name, arguments[at + 1 :]) if is_shell else "") or name
    return program


def _script(interpreter: str, arguments: Sequence[str]) -> str:
    """What an interpreter runs, '' when the command line does not tell."""
    valued = _VALUED.get(interpreter, frozenset())
    subcommands = _SUBCOMMANDS.get(interpreter, frozenset())
    rest = iter(arguments)
    for argument in rest:
        if interpreter == "java" and argument == "-jar":
            return _jar(next(rest, ""))
        if interpreter == "java" and argument in ("-m", "--module"):
            module, _, name = next(rest, "").partition("/")
            return _class(name or module)
        if interpreter in ("python", "pypy") and _is_module(argument):
            return clean_text(argument.partition("m")[2] or next(rest, ""))
        if argument in valued:
            next(rest, "")
        elif argument in subcommands:
            subcommands = frozenset()
        elif _is_inline(interpreter, argument):
            return ""
        elif not argument.startswith(("-", "+", "@")):
            return _class(argument) if interpreter == "java" else _script_file(argument)
    return ""


def _is_module(argument: str) -> bool:
    # `-m`, and at the end of joined options (`-um`), the module perhaps joined too (`-mhttp`).
    return bool(re.match(r"-[bBdEiIOPqRsSuvx]*m", argument))


def _is_inline(interpreter: str, argument: str) -> bool:
    if interpreter in _SHELLS:
        # `-c`, and within joined options: `-lc`, `-exc`.
        return argument.startswith("-") and not argument.startswith("--") and "c" in argument
    return argument in _INLINE.get(interpreter, ())


def _script_file(argument: str) -> str:
    if argument.startswith(("/dev/fd/", "/proc/self/fd/")):
        return ""  # a script from a pipe: the number says nothing
    name = _basename(argument)
    if name == "__main__.py":
        name = _basename(argument.rstrip("/").removesuffix(name))
    return _without_end(name)


def _without_end(name: str) -> str:
    for end in _SCRIPT_ENDS:
        if name.endswith(end) and name != end:
            return clean_text(name.removesuffix(end))
    return clean_text(name)


def _class(argument: str) -> str:
    """A Java main class: the package says whose it is, the class what it is."""
    return clean_text(argument.removesuffix(".java").rpartition("/")[2].rpartition(".")[2])


def _jar(path: str) -> str:
    name = _basename(path).removesuffix(".jar")
    return clean_text(_JAR_VERSION.sub("", name) or name)
