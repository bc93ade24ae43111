"""The name of a host's service from what is known of one of its processes, and masked commands.

The packet loop names by cgroup alone; discovery adds program and command line. The order is: the
container whose cgroup it is, the systemd unit, what an interpreter runs, the program. A service is
the same on every host, so instances of a template (`backup@monday.service`) are one service
(`backup`), and versions in a jar's name do not count.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from cnnf.defender.core.containers import clean_text
from cnnf.protocol.limits import COMMAND_CHARS_MAX, NAME_CHARS_MAX

#: The name of a process of which nothing is known: it went away before it was looked at.
UNKNOWN = "unknown"

#: What stands for a secret in a command line.
MASK = "***"

#: Arguments of a command line that are looked at; more cannot be shown.
ARGUMENTS_MAX = 256

# docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>, libpod-<id>.scope, or the bare id of
# engines that use cgroupfs. A monitor (crio-conmon-<id>.scope) lives outside of its container.
_CONTAINER = re.compile(r"(?:(?P<engine>[a-z][a-z0-9-]*)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?\Z")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_VERSIONED = re.compile(r"[.-]?\d+(?:\.\d+)*\Z")
_JAR_VERSION = re.compile(r"[-_]v?\d+(?:\.\d+)*(?:[-.][A-Za-z0-9]+)*\Z")

_SHELLS = frozenset(("bash", "dash", "sh", "ash", "zsh", "ksh"))
_INTERPRETERS = _SHELLS | frozenset(
    ("python", "pypy", "node", "nodejs", "bun", "deno", "ruby", "perl", "php", "lua", "java")
)
#: Programs that are many: which one is the name they were called by.
_MULTICALL = frozenset(("busybox", "toybox", "coreutils"))
#: Options that are followed by a value, so that the value is not taken for the script.
_VALUED = {
    "python": frozenset(("-W", "-X", "-Q")),
    "pypy": frozenset(("-W", "-X")),
    "node": frozenset(("-r", "--require", "--import", "--loader", "--env-file")),
    "nodejs": frozenset(("-r", "--require")),
    "ruby": frozenset(("-I", "-r", "-C")),
    "perl": frozenset(("-I", "-M")),
    "php": frozenset(("-c", "-d", "-S", "-t")),
    "java": frozenset(("-cp", "-classpath", "--class-path", "-p", "--module-path")),
}
#: Options after which there is no script: the program is on the command line itself.
_INLINE = {
    "python": frozenset(("-c", "-")),
    "pypy": frozenset(("-c", "-")),
    "node": frozenset(("-e", "--eval", "-p", "--print", "-")),
    "nodejs": frozenset(("-e", "--eval", "-p", "--print", "-")),
    "ruby": frozenset(("-e", "-")),
    "perl": frozenset(("-e", "-E", "-")),
    "php": frozenset(("-r",)),
    "lua": frozenset(("-e", "-")),
}
_SCRIPT_ENDS = (".py", ".pyc", ".js", ".mjs", ".cjs", ".ts", ".rb", ".pl", ".php", ".sh", ".lua")

_WORDS = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|(?:api|access|private)[_-]?key|credentials?"
    r"|auth(?:orization)?)"
)
_SECRET_WORD = re.compile(rf"(?:^|[^A-Za-z]){_WORDS}(?:$|[^A-Za-z])|{_WORDS}$", re.I)
_IN_JSON = re.compile(rf'("[^"]*{_WORDS}[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', re.I)
_ASSIGNED = re.compile(r"(?P<name>[\w.-]{1,128})(?P<sign>[=:])(?P<value>.+)\Z", re.S)
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]+@")
_HEADER = re.compile(r"(?P<kind>\b(?:bearer|basic)\s+|\bauthorization:\s*).+", re.I | re.S)
#: Short options that take a secret, by program.
_SECRET_OPTIONS = {
    "sshpass": ("-p",),
    "mysql": ("-p",),
    "mysqldump": ("-p",),
    "mysqladmin": ("-p",),
    "mariadb": ("-p",),
    "mariadb-dump": ("-p",),
    "mongosh": ("-p",),
    "redis-cli": ("-a",),
    "curl": ("-u",),
    "ldapsearch": ("-w",),
}


class ServiceName(msgspec.Struct, frozen=True, kw_only=True):
    """A service's name and what it was taken from.

    `by` is "container" when the process belongs to one: then `container` is its id, and `name`
    is only the program's.
    """

    name: str
    by: Literal["unit", "container", "program"]
    container: str = ""


def service_name(cgroup: str, executable: str, command: Sequence[str] = ()) -> ServiceName:
    """Name a process by its v2 cgroup path, the path of its program and its arguments.

    Any of them may be empty. Never fails: with nothing known the name is `unknown`.
    """
    container = container_of(cgroup)
    if container:
        name = program_name(executable, command)
        return ServiceName(name=name, by="container", container=container)
    unit = unit_of(cgroup)
    if unit:
        return ServiceName(name=unit, by="unit")
    return ServiceName(name=program_name(executable, command), by="program")


def container_of(cgroup: str) -> str:
    """The id of the container whose cgroup this is or lies in; '' when there is none.

    In a container within a container it is the outer one: that is whom this host's engine knows.
    """
    for component in cgroup.split("/"):
        match = _CONTAINER.match(component)
        if match and not (match["engine"] or "").endswith("conmon"):
            return match["id"]
    return ""


def unit_of(cgroup: str) -> str:
    """The service's unit that this cgroup is or lies in, without suffix and instance; '' if none.

    A user's manager and login sessions are no services: what runs there is known by its program.
    """
    for component in cgroup.split("/"):
        if not component or component.endswith(".slice"):
            continue
        if component.startswith("openrc."):
            return _unit_text(component.removeprefix("openrc."))
        if component.endswith(".service") and not component.startswith("user@"):
            return _unit_text(component.removesuffix(".service").partition("@")[0])
        return ""
    return ""


def _unit_text(text: str) -> str:
    # systemd writes `\x2d` for a character that its own grammar uses.
    plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return clean_text(plain, NAME_CHARS_MAX)


def program_name(executable: str, command: Sequence[str] = ()) -> str:
    """The program's name; for an interpreter that of what it runs, for busybox the applet's."""
    program = _basename(executable.removesuffix(" (deleted)"))
    if command and (not program or program.startswith("memfd:")):
        program = _basename(command[0])
    arguments = command[:ARGUMENTS_MAX]
    stem = _VERSIONED.sub("", program) or program
    if stem in _MULTICALL:
        return _applet(stem, arguments)
    if stem in _INTERPRETERS:
        return _script(stem, arguments[1:]) or clean_text(stem)
    return clean_text(program, NAME_CHARS_MAX) or UNKNOWN


def _basename(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _applet(program: str, arguments: Sequence[str]) -> str:
    for argument in arguments[:2]:
        name = clean_text(_basename(argument.lstrip("-")))
        if name and name != program:
            # busybox's shell is an interpreter like any other.
            is_shell = name in ("sh", "ash", "bash")
            at = list(arguments).index(argument) + 1
            return (_script(name, arguments[at:]) if is_shell else "") or name
    return program


def _script(interpreter: str, arguments: Sequence[str]) -> str:
    """What an interpreter runs, '' when the command line does not tell."""
    valued = _VALUED.get(interpreter, frozenset())
    rest = iter(arguments)
    for argument in rest:
        if interpreter == "java" and argument == "-jar":
            return _jar(next(rest, ""))
        if interpreter in ("python", "pypy") and argument == "-m":
            return clean_text(next(rest, ""))
        if argument in valued:
            next(rest, "")
        elif _is_inline(interpreter, argument):
            return ""
        elif not argument.startswith("-"):
            return _script_file(interpreter, argument)
    return ""


def _is_inline(interpreter: str, argument: str) -> bool:
    if interpreter in _SHELLS:
        # `-c`, and within joined options: `-lc`, `-exc`.
        return argument.startswith("-") and not argument.startswith("--") and "c" in argument
    return argument in _INLINE.get(interpreter, ())


def _script_file(interpreter: str, argument: str) -> str:
    if interpreter == "java":
        # The main class: the package says whose it is, the class what it is.
        return clean_text(argument.rpartition("/")[2].rpartition(".")[2])
    if argument.startswith(("/dev/fd/", "/proc/self/fd/")):
        return ""  # a script from a pipe: the number says nothing
    name = _basename(argument)
    for end in _SCRIPT_ENDS:
        if name.endswith(end) and name != end:
            name = name.removesuffix(end)
            break
    return clean_text(name)


def _jar(path: str) -> str:
    name = _basename(path).removesuffix(".jar")
    return clean_text(_JAR_VERSION.sub("", name) or name)


def mask_command(command: Sequence[str]) -> str:
    """The command line for a person to read: secrets masked, cleaned, cut to the wire's bound.

    Masks what looks like a secret by its option's or variable's name, passwords in URLs, and the
    short options of well-known clients. Masks too much rather than too little.
    """
    program = _basename(command[0]) if command else ""
    words = [argument[: COMMAND_CHARS_MAX * 2] for argument in command[:ARGUMENTS_MAX]]
    masked = _mask_words(words, _SECRET_OPTIONS.get(program, ()))
    return clean_text(" ".join(masked), COMMAND_CHARS_MAX)


def _mask_words(words: Sequence[str], shorts: tuple[str, ...]) -> list[str]:
    shown: list[str] = []
    masked_next = False
    length = 0
    for word in words:
        if masked_next and (word == "-" or not word.startswith("-")):
            shown.append(MASK)
            masked_next = False
        else:
            masked_next = word in shorts or (
                word.startswith("-") and "=" not in word and bool(_SECRET_WORD.search(word))
            )
            shown.append(_mask(word, shorts))
        length += len(shown[-1]) + 1
        if length > COMMAND_CHARS_MAX:
            break
    return shown


def _mask(text: str, shorts: tuple[str, ...]) -> str:
    for short in (*shorts, "-p"):
        # `-p22` is a port nearly everywhere; `-pS3cret` is a password.
        value = text.removeprefix(short)
        if text.startswith(short) and value and not (short == "-p" and value.isdecimal()):
            return f"{short}{MASK}"
    assigned = _ASSIGNED.match(text)
    if assigned and _SECRET_WORD.search(assigned["name"]):
        return f"{assigned['name']}{assigned['sign']}{MASK}"
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    text = _IN_JSON.sub(rf'\g<1>"{MASK}"', text)
    # A whole script as one argument (`sh -c "TOKEN=x run"`): mask word by word.
    if any(blank in text for blank in " \n\t") and not _HEADER.search(text):
        return " ".join(_mask_words(text.split(), ()))
    return _HEADER.sub(rf"\g<kind>{MASK}", text)
