"""Open files of obskit's own, by their numbers.

A program that becomes a daemon closes every file that it does not know, and its next one gets the number: who then
wrote to that number, or closed it, would do so to the application's file.
"""

from __future__ import annotations

import os


class OwnFile:
    """An open file that is no more used once the application has closed it."""

    def __init__(self, fileno: int) -> None:
        self.fileno = fileno
        self._identity = _identity(fileno)

    def is_open(self) -> bool:
        """Return whether the number still stands for this file."""
        try:
            return _identity(self.fileno) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        """Close the file, unless the application has."""
        if self.is_open():
            os.close(self.fileno)


def _identity(fileno: int) -> tuple[int, ...]:
    return os.fstat(fileno)[1:3]
