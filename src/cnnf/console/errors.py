"""What can go wrong in the Console, by what the caller has to do about it.

ConsoleError
├── CannotStart         a person has to mend something; `hint` says what; nothing was changed
├── StoreUnavailable    the disk or the database failed; the peer should try again later
├── Refused             the peer erred; `code` and `where` go into the answer
│   ├── Conflict        somebody else was faster, or a batch is missing before this one
│   └── TooMany         a rate or a number is used up; try again after `retry_after_s`
└── StreamsExhausted    no more live streams are taken
"""


class ConsoleError(Exception):
    """The root; the text says what and where."""


class CannotStart(ConsoleError):
    """The Console ends here with a message for a person."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class StoreUnavailable(ConsoleError):
    """The database could not do it now."""


class Refused(ConsoleError):
    """A request that cannot be done as it is."""

    def __init__(self, message: str, *, code: str = "bad-request", where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.where = where


class Conflict(Refused):
    """The request was right for a state that is no longer there; `version` is the one that is
    there now, where it has one."""

    def __init__(
        self, message: str, *, code: str = "conflict", where: str = "", version: int = 0
    ) -> None:
        super().__init__(message, code=code, where=where)
        self.version = version


class TooMany(Refused):
    """A bound on attempts was reached."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, code="too-many-requests")
        self.retry_after_s = retry_after_s


class StreamsExhausted(ConsoleError):
    """As many live streams are open as this Console serves."""
