"""Command lines for a person to read, without the secrets in them.

Pure; used for every command line before it leaves the Defender. What looks like a secret by its
option's or variable's name, by where it stands in a URL, or by its own form (a cloud's access key)
becomes `***`. It masks too much rather than too little. What it can't know is a secret that stands
alone among the arguments of a program that nobody has told of here; the threat model says so.
"""

import re
from collections.abc import Sequence

from cnnf.defender.core.containers import clean_text
from cnnf.protocol.limits import COMMAND_CHARS_MAX

#: What stands for a secret in a command line.
MASK = "***"

#: Arguments of a command line that are looked at; more cannot be shown.
ARGUMENTS_MAX = 256

#: The end of a name that means a secret, whatever stands before it: `PGPASSWORD`, `adminPassword`.
_LOUD = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|(?:api|access|private|account"
    r"|shared|signing|secret|encryption|master|license|auth|storage|client|session)[_-]?key(?:[_-]?id)?"
    r"|auth(?:orization)?|cookie|signature|jwt|bearer|sas)"
)
#: The same as a word of a longer name, anywhere: `token-file`, `x-auth-header`.
_QUIET = rf"(?:{_LOUD}|key|sig|otp|psk|pin|pat|pw|session|community|sshpass)"
_SECRET_NAME = re.compile(rf"(?:^|[^A-Za-z]){_QUIET}(?:$|[^A-Za-z])|{_LOUD}\Z", re.I)
_NAME = r"[A-Za-z_][\w.\[\]-]{0,127}"

_QUOTED = r"""\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'[^']*(?:'|\Z)"""
#: Words as a shell would cut them, quotes and all.
_WORDS = re.compile(rf"(?:{_QUOTED}|\\.|[^\s\"'])+", re.S)
#: `name=`, `name: `, `"name": ` within a longer text, and the value behind it.
_INNER = re.compile(rf"(?P<name>{_NAME})[\"']?\s*[=:]\s*")
_VALUE = re.compile(rf"{_QUOTED}|[^\s;&,\"'}})\]]+", re.S)
_ASSIGNED = re.compile(rf"(?P<name>[-/]{{0,2}}{_NAME})(?P<sign>\s*[=:]\s*)(?P<value>.+)\Z", re.S)
#: Who logs in, in a URL. A password may have `/` and `@` in it, so it goes up to the last `@`.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,32}://)(?:[^/\s@:]*:\S*@|[^/\s@]+@)")
_HEADER = re.compile(
    r"(?P<kind>\b(?:bearer|basic|digest|negotiate)\s+|\b(?:proxy-)?authorization\s*[:=]\s*"
    r"|\b(?:set-)?cookie\s*:\s*).+",
    re.I | re.S,
)
#: Secrets that are known by their own form: keys of AWS and Google, tokens of GitHub, GitLab,
#: Slack, Stripe, OpenAI, npm and PyPI, JSON web tokens, private keys, Slack's and Discord's hooks.
_FORMS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[\w-]{30,}"
    r"|\bya29\.[\w.-]+"
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[a-z]-[\w-]{8,}"
    r"|\b[srp]k[-_](?:live|test|proj|ant|or)?[-_]?[\w-]{16,}"
    r"|\bnpm_\w{20,}|\bpypi-[\w-]{20,}|\bdop_v1_\w{20,}|\bhvs\.[\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    r"|(?<=hooks\.slack\.com/services/)\S+"
    r"|(?<=/api/webhooks/)\S+"
    r"|(?<=api\.telegram\.org/bot)[^/\s]+",
    re.S,
)
#: An AWS secret key stands for itself: 40 characters of base64 with capitals, small letters and
#: digits. Digests are of small letters alone.
_FORTY = re.compile(
    r"(?<![\w/+.-])(?=[^\s]{0,39}[A-Z])(?=[^\s]{0,39}[a-z])(?=[^\s]{0,39}[0-9])"
    r"[A-Za-z0-9/+]{40}(?![\w/+=.-])"
)
#: A bare word after which the secret comes: `aws configure set aws_secret_access_key …`.
_ANNOUNCES = re.compile(rf"[A-Za-z]\w*[_-]{_LOUD}\Z", re.I)

#: Short options that take a secret, by program. `-p` is one for every program, unless a port
#: follows; for these whatever follows.
_SECRET_OPTIONS = {
    **dict.fromkeys(
        ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mariadb",
         "mariadb-dump", "mariadb-admin", "mongo", "mongosh", "mongodump", "mongorestore",
         "mongoexport", "mongoimport", "sshpass", "cqlsh", "docker", "podman", "nerdctl", "helm",
         "rabbitmqadmin", "zabbix_sender", "az"),
        ("-p",),
    ),
    **dict.fromkeys(("redis-cli", "valkey-cli", "keydb-cli"), ("-a",)),
    **dict.fromkeys(("curl",), ("-u", "-U", "-b", "-E")),
    **dict.fromkeys(("http", "https"), ("-a",)),
    **dict.fromkeys(
        ("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldappasswd"),
        ("-w",),
    ),
    **dict.fromkeys(("smbclient", "rpcclient", "net", "mount.cifs"), ("-U",)),
    **dict.fromkeys(("snmpget", "snmpwalk", "snmpset", "snmpbulkwalk"), ("-c", "-A", "-X")),
    **dict.fromkeys(("sqlcmd", "bcp", "ipmitool", "isql", "tsql", "amqp-publish"), ("-P",)),
    **dict.fromkeys(("lftp",), ("-u",)),
    **dict.fromkeys(("htpasswd",), ("-b",)),
    **dict.fromkeys(("openssl",), ("-k", "-K", "-passin", "-passout", "-pass")),
}  # fmt: skip
#: Long options that take a user with a password behind a colon, whoever takes them.
_WITH_USER = frozenset(("--user", "--proxy-user", "--userpwd"))


def mask_command(command: Sequence[str]) -> str:
    """The command line for a person to read: secrets masked, cleaned, cut to the wire's bound."""
    words = [argument[: COMMAND_CHARS_MAX * 2] for argument in command[:ARGUMENTS_MAX]]
    return clean_text(" ".join(_mask_words(words)), COMMAND_CHARS_MAX)


def _mask_words(words: Sequence[str]) -> list[str]:
    # The program need not come first: `sudo`, `timeout 5` and `env A=b` stand before others.
    shorts = {
        option
        for word in words
        for option in _SECRET_OPTIONS.get(word.rpartition("/")[2].strip("\"'"), ())
    }
    shown: list[str] = []
    masked_next = ""
    length = 0
    for word in words:
        if masked_next and _is_value(word, masked_next, shorts):
            shown.append(MASK)
            masked_next = ""
        else:
            masked_next = word if _announces(word, shorts) else ""
            shown.append(_mask(word, shorts))
        length += len(shown[-1]) + 1
        if length > COMMAND_CHARS_MAX:
            break
    return shown


def _announces(word: str, shorts: set[str]) -> bool:
    """Is the next word a secret, by this one?"""
    if "=" in word or any(blank in word for blank in " \n\t"):
        return False
    if word in shorts or word == "-p" or word in _WITH_USER:
        return True
    if word.startswith("-"):
        return bool(_SECRET_NAME.search(word.rstrip(":")))
    return bool(_ANNOUNCES.match(word)) or bool(_HEADER.match(f"{word} x"))


def _is_value(word: str, option: str, shorts: set[str]) -> bool:
    if option == "-p" and option not in shorts and word.isdecimal():
        return False  # a port, nearly everywhere
    # Another option; but a secret may begin with a dash, too.
    return not (word.startswith("--") or (word.startswith("-") and len(word) == 2))


def _mask(text: str, shorts: set[str]) -> str:
    for short in (*sorted(shorts, key=len, reverse=True), "-p"):
        # `-p22` is a port nearly everywhere; `-pS3cret` is a password.
        value = text.removeprefix(short)
        if text.startswith(short) and value and (short in shorts or not value.isdecimal()):
            return f"{short}{MASK}"
    for option in _WITH_USER:
        if text.startswith(f"{option}="):
            return f"{option}={MASK}"
    assigned = _ASSIGNED.match(text)
    if assigned and _SECRET_NAME.search(assigned["name"]):
        return f"{assigned['name']}{assigned['sign']}{MASK}"
    header = _HEADER.search(text)
    if header:
        rest = _mask(text[: header.start()], shorts) if header.start() else ""
        return f"{rest}{header['kind']}{MASK}"
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    text = _FORTY.sub(MASK, _FORMS.sub(MASK, _mask_inner(text)))
    # A whole script as one argument (`sh -c "TOKEN=x run"`): mask word by word.
    if any(blank in text for blank in " \n\t"):
        words = _WORDS.findall(text)
        if len(words) > 1:
            return " ".join(_mask_words(words))
    return text


def _mask_inner(text: str) -> str:
    """The values of all names in the text that mean a secret."""
    parts: list[str] = []
    shown = at = 0
    while name := _INNER.search(text, at):
        at = name.end()
        value = _VALUE.match(text, at) if _SECRET_NAME.search(name["name"]) else None
        if value:
            quote = value[0][0] if value[0][0] in "\"'" else ""
            parts += text[shown:at], f"{quote}{MASK}{quote}"
            shown = at = value.end()
    return "".join(parts) + text[shown:]
