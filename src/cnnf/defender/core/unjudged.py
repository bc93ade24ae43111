"""How many packets were asked about and never answered.

A queue that nobody answers, or that is full, lets packets pass (or drops them) without a word; but
the table counts each before it asks, and the loops count their answers.
"""


class Unjudged:
    """The difference, over restarts of either counter."""

    def __init__(self) -> None:
        self._asked = self._asked_before = 0
        self._most = 0

    def feed(self, asked: int, accounted: int) -> int:
        """`asked` was read first, then what the loops answered and what waits in the queues.

        So a packet on its way counts as answered or waiting, and the result never says too much.
        `asked` begins again at 0 when the table is put back.
        """
        if asked < self._asked:
            self._asked_before += self._asked
        self._asked = asked
        self._most = max(self._most, self._asked_before + asked - accounted)
        return self._most
