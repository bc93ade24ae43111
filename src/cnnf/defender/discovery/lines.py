"""Lines out of a stream's chunks, none longer than a bound."""

from collections.abc import Iterator


class LineSplitter:
    """Feed chunks, get whole lines without their end. `dropped` counts those that were too long."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._skipping = False
        self.dropped = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that this chunk completes; empty ones are left out."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            line = bytes(self._rest) + piece
            self._rest.clear()
            if self._skipping:
                self._skipping = False
            elif len(line) > self._bytes_max:
                self.dropped += 1
            elif line.strip():
                yield line
        if self._skipping:
            return
        self._rest += rest
        if len(self._rest) > self._bytes_max:
            self._rest.clear()
            self._skipping = True
            self.dropped += 1
