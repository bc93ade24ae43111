"""How often somebody may be wrong: failed logins and enrolments, by name of who tries."""

from collections import OrderedDict, deque

from cnnf.console import limits
from cnnf.console.errors import TooMany


class Attempts:
    """Failures within the last minute. Time is given by the caller."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def check(self, key: str, now: int) -> None:
        """Raises TooMany when this key has failed as often as is allowed."""
        failures = self._failures.get(key)
        if failures is None:
            return
        while failures and failures[0] <= now - limits.ATTEMPTS_WINDOW_MS:
            failures.popleft()
        if len(failures) >= limits.ATTEMPTS_MAX:
            wait_s = (failures[0] + limits.ATTEMPTS_WINDOW_MS - now + 999) // 1000
            raise TooMany(
                f"too many failed attempts; try again in {wait_s} s", retry_after_s=wait_s
            )

    def failed(self, key: str, now: int) -> None:
        """Count one failure."""
        failures = self._failures.setdefault(key, deque(maxlen=limits.ATTEMPTS_MAX))
        failures.append(now)
        self._failures.move_to_end(key)
        while len(self._failures) > limits.ATTEMPTS_KEYS_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of this key."""
        self._failures.pop(key, None)
