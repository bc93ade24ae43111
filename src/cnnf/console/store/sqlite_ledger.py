"""The ledger on SQLite: accounts read, settled and written within ingest's transaction."""

from collections.abc import Iterable
from typing import Any

import msgspec

from cnnf.console import limits
from cnnf.console.core import ledger
from cnnf.console.core.accounts import Account, Claim, Key, Posting, Progress, Told
from cnnf.console.core.directory import Directory, Found
from cnnf.console.core.events import Event, gather
from cnnf.console.core.ingest import Resolved, post

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Account)

_KEY = "source = ? AND destination = ? AND port = ? AND protocol = ?"
_UPSERT = """
INSERT INTO ledger (source, destination, port, protocol, account, due_at, ready_at, unsure_at,
                    touched_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source, destination, port, protocol) DO UPDATE SET
  account = excluded.account, due_at = excluded.due_at, ready_at = excluded.ready_at,
  unsure_at = excluded.unsure_at, touched_at = excluded.touched_at
"""


class Ledger:
    """The accounts that one batch touches; lives as long as its transaction. `defender` is whose
    batch it is, '' where only what is due is looked at."""

    def __init__(self, sql: Any, directory: Directory, now: int, defender: str = "") -> None:
        self._sql = sql
        self._directory = directory
        self._now = now
        self._defender = defender
        self._accounts: dict[Key, Account] = {}
        self._read: dict[Key, Account] = {}
        self._delivered: dict[str, tuple[int, bool]] = {}
        self.postings: list[tuple[Key, Posting]] = []
        self.events: list[Event] = []

    def take(self, told: Iterable[tuple[Key, Told]], claims: Iterable[tuple[Key, Claim]]) -> None:
        """What a batch tells of connections between two hosts."""
        for key, one in told:
            self._accounts[key] = ledger.tell(self._account(key), one)
        for key, more in claims:
            self._accounts[key] = ledger.claim(self._account(key), more)

    def settle(self) -> int:
        """Settle what was touched and what is due; write it. How many were due."""
        due = self._due()
        for key in due:
            self._account(key)
        for key in list(self._accounts):
            self._look_up(key)
        for key, account in self._accounts.items():
            settled = ledger.settle(account, self._progress(key))
            self.postings += ((key, posting) for posting in settled.postings)
            self.events += settled.events
            if settled.account != self._read[key]:
                self._write(key, settled.account)
        return len(due)

    def post(self, resolved: Resolved) -> None:
        """Add what is to be drawn, and events that have got their source, to a batch's."""
        for key, posting in self.postings:
            post(resolved, key, posting, self._directory.host_node(key.destination).name)
        if self.events:
            resolved.events = gather([*resolved.events, *self.events])

    def _due(self) -> list[Key]:
        """Accounts whose time has come, in turn."""
        delivered, _ = self._told_by(self._defender)
        found: dict[Key, None] = {}
        for condition, parameters in (
            ("due_at > 0 AND due_at <= ?", (self._now,)),
            ("source = ? AND ready_at > 0 AND ready_at <= ?", (self._defender, delivered)),
            ("destination = ? AND unsure_at > 0 AND unsure_at <= ?", (self._defender, delivered)),
        ):
            for row in self._sql.execute(
                f"SELECT source, destination, port, protocol FROM ledger WHERE {condition} LIMIT ?",  # noqa: S608
                (*parameters, limits.LEDGER_SETTLE_MAX),
            ):
                found[Key(*row)] = None
        return list(found)

    def _look_up(self, key: Key) -> None:
        """Look up anew what was named before everybody had told."""
        again, account = ledger.unsure(
            self._accounts[key], self._directory.delivered(key.destination)
        )
        self._accounts[key] = ledger.look_up(account, lambda one: self._whence(key, one))
        for one in again:
            found = self._directory.find_destination(
                key.source, one.address, one.port, key.protocol, (one.last, one.first)
            )
            # Nobody's any more: two claim it now, or its Defender was removed. It was that host.
            if found is None or found.defender != key.destination:
                found = Found(key.destination, one.target, key.port, False)
            where = key._replace(port=found.port)
            sure = msgspec.structs.replace(one, target=found.node, sure=True)
            if (where, sure.target) != (key, one.target):
                self.postings += (
                    (key, ledger.negative(one)),
                    (where, ledger.drawn(sure)),
                )
            self._accounts[where] = ledger.tell(self._account(where), sure)

    def _whence(self, key: Key, one: Claim) -> Found | None:
        found = self._directory.find_source(key.destination, one.address, (one.first, one.last))
        return found if found is not None and found.defender == key.source else None

    def _account(self, key: Key) -> Account:
        account = self._accounts.get(key)
        if account is None:
            row = self._sql.execute(f"SELECT account FROM ledger WHERE {_KEY}", key).fetchone()  # noqa: S608
            account = _decoder.decode(row[0]) if row else Account()
            self._accounts[key] = self._read[key] = account
        return account

    def _write(self, key: Key, account: Account) -> None:
        self._sql.execute(
            _UPSERT,
            (
                *key,
                _encoder.encode(account),
                ledger.due_at(account),
                ledger.ready_at(account),
                ledger.unsure_at(account),
                self._now,
            ),
        )

    def _progress(self, key: Key) -> Progress:
        (source, steady), (destination, steady_too) = map(
            self._told_by, (key.source, key.destination)
        )
        both = min(source, destination) if steady and steady_too else 0
        return Progress(source, both, self._now)

    def _told_by(self, defender: str) -> tuple[int, bool]:
        """How far a Defender has delivered, and whether what it kept has come by now."""
        told = self._delivered.get(defender)
        if told is None:
            row = self._sql.execute(
                "SELECT delivered_at, returned_at FROM hosts WHERE defender = ?", (defender,)
            ).fetchone() or (0, self._now)
            told = row[0], self._now - row[1] >= limits.LEDGER_GRACE_MS
            self._delivered[defender] = told
        return told
