"""A program put before the real one on the PATH, which does something to its caller as it runs.

How a fault comes between two steps of the product without changing the product: each run gets a
number, and a script decides by it.
"""

import shutil
from pathlib import Path


class Wrapped:
    """`name` in a directory of its own; `run` is shell that has `$number`, `$PPID`, `$real`.

    It is run before the real program, unless it ends with `exit`.
    """

    def __init__(self, place: Path, name: str, run: str) -> None:
        real = shutil.which(name)
        assert real is not None, f"{name} is not installed"
        self.directory = place / f"wrapped-{name}"
        self.directory.mkdir()
        self._count = self.directory / "count"
        self._switch = self.directory / "on"
        program = self.directory / name
        program.write_text(
            "#!/bin/sh\n"
            f"real={real}\n"
            f'[ -e {self._switch} ] || exec "$real" "$@"\n'
            # Two that are begun at once may both count as the later one.
            f"echo x >>{self._count}\n"
            f"number=$(wc -l <{self._count})\n"
            f"{run}\n"
            'exec "$real" "$@"\n'
        )
        program.chmod(0o755)

    def path(self, path: str) -> str:
        """A PATH with it first."""
        return f"{self.directory}:{path}"

    def on(self) -> None:
        """Count from here."""
        self._count.write_text("")
        self._switch.touch()

    def off(self) -> int:
        """Be the real program again; how often it ran meanwhile."""
        self._switch.unlink(missing_ok=True)
        return self.runs

    @property
    def runs(self) -> int:
        """How often it has run since `on`."""
        return len(self._count.read_text().splitlines()) if self._count.exists() else 0
