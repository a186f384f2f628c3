"""What a process that never sends leaves to one of its children.

uWSGI's master loads the application, forks its workers, and runs no Python again, not even at its end.
"""

from __future__ import annotations

import os

_TOKEN = b"1"


class Inheritance:
    """Falls to the first of the children that claims it: a byte in a pipe, which only one of them can read."""

    def __init__(self) -> None:
        self._pipe, end = os.pipe()
        os.write(end, _TOKEN)
        os.close(end)
        self._identity = os.fstat(self._pipe)[1:3]

    def claim(self) -> bool:
        """Return whether this process is the first to ask; False for all if the application closed the pipe."""
        try:
            ours = os.fstat(self._pipe)[1:3] == self._identity
            return ours and os.read(self._pipe, 1) == _TOKEN
        except OSError:
            return False
