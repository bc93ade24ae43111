"""How a command says that it cannot do what was asked: what, where, and how to mend it."""

import sys


class Failure(Exception):
    """A command ends here with a message for a person.

    `hint` says what to do about it; `exit_code` is 1 when the work failed and 2 when the command
    was used wrongly.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


def report(failure: Failure) -> None:
    """Print the failure on standard error."""
    print(f"cnnf: {failure}", file=sys.stderr)
    if failure.hint:
        print(f"      {failure.hint}", file=sys.stderr)
