"""What can go wrong between discovery and a container engine.

EngineError
├── EngineUnreachable   not there, refuses, too old, or does not answer in time; retry with patience
└── BadAnswer           the engine erred: its answer is no answer; skip what it was about, or retry
"""

from typing import Literal

#: Health conditions that an engine can cause. `engine-absent` is normal where no engine runs.
EngineCode = Literal[
    "engine-absent",
    "engine-refused",
    "engine-silent",
    "engine-unsupported",
    "engine-bad-answer",
    "engine-too-many",
]


class EngineError(Exception):
    """An exchange with the engine failed; `code` names the health condition it becomes."""

    def __init__(self, message: str, code: EngineCode) -> None:
        super().__init__(message)
        self.code: EngineCode = code


class EngineUnreachable(EngineError):
    """There is nobody to talk to; `code` says in which way."""


class BadAnswer(EngineError):
    """Too long, cut short, not JSON, or not what was asked for.

    `status` is the HTTP status when that was what was wrong, else 0.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message, "engine-bad-answer")
        self.status = status
