"""How long may be looked through what was recorded: the one answer to too wide a window."""

import time
from collections.abc import Callable

from cnnf.console.errors import Refused


def deadline(seconds: float, done: str) -> Callable[[], None]:
    """What ends work that takes longer, counted from now: raises Refused then, which says that the
    window's flows can't be `done` in the time."""
    ends = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > ends:
            raise Refused(
                f"the window has more flows than can be {done} in {seconds:.0f} s; "
                "choose a shorter one",
                code="too-much",
                where="query.window",
            )

    return check
