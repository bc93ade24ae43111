"""The policy, every version of it: the newest is in force, none is ever changed or deleted.

A version is its canonical text, kept compressed: whole, or as the difference to an earlier version
that is whole (`base`), so that one changed rule among 10,000 costs 0.2 kB and not 160. A version
becomes a whole one when its difference would be more than a sixteenth of the base: with 60 bytes a
change and 160 kB a whole text that is every 170 changes, 6 kB a version on average; ten thousand
versions are 60 MB, or 10 MB where the policy has 500 rules.

Every function is a job for `Database.read` or `write`.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import zstandard
from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from cnnf.console.errors import Conflict, Refused
from cnnf.console.store.schema import policies, rule_hits, rules_in_force
from cnnf.console.store.settings import note
from cnnf.policy.compiled import compile_policy
from cnnf.policy.export import write_policy
from cnnf.policy.limits import FORM_BYTES_MAX
from cnnf.policy.rules import Policy

#: What made a version: the whole policy replaced or merged, an object, a rule, the order of rules,
#: an earlier version again, a quarantine and its end.
Kind = Literal[
    "first", "replace", "merge", "object", "rule", "order", "rollback", "quarantine", "release"
]

#: A difference that is larger than this part of its base is not worth keeping one.
_WHOLE_FROM = 16
#: The text and its base fit in one window of this many bits.
_WINDOW_LOG = 25
assert 2 * FORM_BYTES_MAX <= 1 << _WINDOW_LOG
#: The lowest level that finds long matches in a base wherever they are (measured: 160 bytes where
#: level 3 takes 39,000), in 80 ms for 1.4 MB.
_LEVEL = 6


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version beside its text. `at` in ms; `digest` is of
    `compile_policy(policy)` without a time; `subject` names what the change was about."""

    version: int
    digest: str
    rules: int
    objects: int
    author: str
    reason: str
    at: int
    kind: Kind
    subject: str


class StoredPolicy(PolicyVersion, frozen=True, kw_only=True):
    """A version with its text, as `write_policy` writes it."""

    text: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes the policy, why and how. `renamed` are a rule's old and new name."""

    author: str
    reason: str
    kind: Kind
    subject: str = ""
    renamed: tuple[str, str] | None = None


class NewPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be stored: a text and what it means, worked out before the writer is asked."""

    text: str
    digest: str
    rules: int
    objects: int
    enabled: frozenset[str]


def new_policy(policy: Policy, text: str, digest: str) -> NewPolicy:
    """A policy with its canonical text and its digest, ready to be stored."""
    rules = (*policy.containers, *policy.hosts)
    return NewPolicy(
        text=text,
        digest=digest,
        rules=len(rules),
        objects=len(policy.objects),
        enabled=frozenset(rule.name for rule in rules if rule.enabled),
    )


def ensure(connection: Connection, now: int) -> None:
    """The first version: an empty policy."""
    if connection.execute(select(policies.c.version).limit(1)).first() is None:
        empty = Policy()
        new = new_policy(empty, write_policy(empty), compile_policy(empty).digest)
        _insert(connection, 1, new, Change(author="cnnf", reason="", kind="first"), now)


def current(connection: Connection) -> StoredPolicy:
    """The version in force."""
    newest = select(policies).order_by(policies.c.version.desc()).limit(1)
    return _stored(connection, connection.execute(newest).one())


def load(connection: Connection, version: int) -> StoredPolicy | None:
    """This version, None when there never was one."""
    row = connection.execute(select(policies).where(policies.c.version == version)).one_or_none()
    return None if row is None else _stored(connection, row)


def history(connection: Connection, *, before: int, count: int) -> list[PolicyVersion]:
    """The newest versions below `before` (0: the newest of all), the newest first."""
    query = select(policies).order_by(policies.c.version.desc()).limit(count)
    if before:
        query = query.where(policies.c.version < before)
    return [_version(row) for row in connection.execute(query)]


def store(
    connection: Connection, *, expected: int, new: NewPolicy, change: Change, now: int
) -> StoredPolicy:
    """Put a policy in force as the version after `expected`, noted in the audit log; the version in
    force when its text is the same. Raises Conflict when another version is in force by now."""
    before = current(connection)
    if before.version != expected:
        raise conflict(before.version, expected)
    if new.text == before.text:
        return before
    stored = _insert(connection, expected + 1, new, change, now)
    _keep_since(connection, new.enabled, change.renamed, now)
    note(
        connection,
        actor=change.author,
        action=f"policy.{change.kind}",
        subject=change.subject or "policy",
        detail={"version": stored.version, "digest": stored.digest, "reason": change.reason},
        now=now,
    )
    return stored


def conflict(version: int, expected: int) -> Conflict:
    """Somebody else was faster."""
    return Conflict(
        f"the policy was changed meanwhile: version {version} is in force, not {expected}",
        code="version-conflict",
        where="version",
        version=version,
    )


def unknown(version: int) -> Refused:
    """There is no such version."""
    return Refused(f"the policy has no version {version}", code="not-found", where="version")


def in_force_since(connection: Connection) -> dict[str, int]:
    """Enabled rules, and since when (ms) there is an enabled one of that name."""
    return {row.rule: row.since for row in connection.execute(select(rules_in_force))}


# How texts are kept.


def _insert(
    connection: Connection, version: int, new: NewPolicy, change: Change, now: int
) -> StoredPolicy:
    base, body = _packed(connection, new.text.encode())
    stored = StoredPolicy(
        version=version,
        digest=new.digest,
        rules=new.rules,
        objects=new.objects,
        author=change.author,
        reason=change.reason,
        at=now,
        kind=change.kind,
        subject=change.subject,
        text=new.text,
    )
    values = msgspec.structs.asdict(stored)
    del values["text"]
    connection.execute(insert(policies).values(base=base, body=body, **values))
    return stored


def _packed(connection: Connection, text: bytes) -> tuple[int, bytes]:
    """The base's version and the difference to it, or 0 and the text, compressed."""
    newest_whole = (
        select(policies.c.version, policies.c.body)
        .where(policies.c.base == 0)
        .order_by(policies.c.version.desc())
        .limit(1)
    )
    whole = connection.execute(newest_whole).one_or_none()
    if whole is not None:
        difference = _compressor(text, _unpacked(whole.body)).compress(text)
        if len(difference) * _WHOLE_FROM <= len(whole.body):
            return whole.version, difference
    return 0, _compressor(text).compress(text)


def _compressor(text: bytes, base: bytes = b"") -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, source_size=len(text) + len(base), window_log=_WINDOW_LOG
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base))


def _dictionary(base: bytes) -> zstandard.ZstdCompressionDict | None:
    if not base:
        return None
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _unpacked(body: bytes, base: bytes = b"") -> bytes:
    decompressor = zstandard.ZstdDecompressor(
        dict_data=_dictionary(base), max_window_size=1 << _WINDOW_LOG
    )
    return decompressor.decompress(body)


def _stored(connection: Connection, row: Any) -> StoredPolicy:
    base = b""
    if row.base:
        query = select(policies.c.body).where(policies.c.version == row.base)
        base = _unpacked(connection.execute(query).scalar_one())
    text = _unpacked(row.body, base).decode()
    return StoredPolicy(text=text, **msgspec.structs.asdict(_version(row)))


def _version(row: Any) -> PolicyVersion:
    return PolicyVersion(
        version=row.version,
        digest=row.digest,
        rules=row.rules,
        objects=row.objects,
        author=row.author,
        reason=row.reason,
        at=row.at,
        kind=row.kind,
        subject=row.subject,
    )


# Since when rules are in force.


def _keep_since(
    connection: Connection,
    enabled: Iterable[str],
    renamed: tuple[str, str] | None,
    now: int,
) -> None:
    if renamed is not None:
        _rename(connection, *renamed)
    held = set(connection.execute(select(rules_in_force.c.rule)).scalars())
    wanted = set(enabled)
    if gone := held - wanted:
        statement = delete(rules_in_force).where(rules_in_force.c.rule == bindparam("name"))
        connection.execute(statement, [{"name": name} for name in gone])
    if come := wanted - held:
        connection.execute(
            insert(rules_in_force), [{"rule": name, "since": now} for name in sorted(come)]
        )


def _rename(connection: Connection, old: str, new: str) -> None:
    """A rule goes on under another name, with what it has decided."""
    connection.execute(delete(rules_in_force).where(rules_in_force.c.rule == new))
    connection.execute(update(rules_in_force).where(rules_in_force.c.rule == old).values(rule=new))
    hits = select(
        literal(new), rule_hits.c.day, rule_hits.c.told, rule_hits.c.claimed,
        rule_hits.c.last_hit,
    ).where(rule_hits.c.rule == old)  # fmt: skip
    statement = upsert(rule_hits).from_select(list(rule_hits.c.keys()), hits)
    more = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[rule_hits.c.rule, rule_hits.c.day],
            set_={
                "told": rule_hits.c.told + more.told,
                "claimed": rule_hits.c.claimed + more.claimed,
                "last_hit": func.max(rule_hits.c.last_hit, more.last_hit),
            },
        )
    )
    connection.execute(delete(rule_hits).where(rule_hits.c.rule == old))
