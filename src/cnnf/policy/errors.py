"""What can be wrong with what a person asked for.

PolicyError
├── InvalidValueError   a value is outside what it may be; the text says which and why
└── InvalidFormError    a policy's text has problems, each with its place; none of it is taken
"""

import msgspec


class PolicyError(Exception):
    """What was asked for can't be done; nothing has changed."""


class InvalidValueError(PolicyError):
    """A value is outside what it may be."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a text. `line` and `column` count from 1."""

    subject: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.subject}:{self.line}:{self.column}: {self.message}"


class InvalidFormError(PolicyError):
    """A text is no policy. `problems` are in the order of the text, `more` counts the others."""

    def __init__(self, problems: tuple[Problem, ...], more: int = 0) -> None:
        self.problems = problems
        self.more = more
        lines = [str(one) for one in problems]
        if more:
            lines.append(f"{problems[0].subject}: and {more} more")
        super().__init__("\n".join(lines))
