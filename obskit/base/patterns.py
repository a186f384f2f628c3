"""Regular expressions that are compiled when they are first used, since many programs end before they need them."""

from __future__ import annotations

import re
from typing import Any, cast


class _Pattern:
    """Stands for the compiled pattern, and keeps each of its methods that was asked for: later calls cost no more."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._pattern, self._flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._pattern, self._flags), name)  # `re` keeps what it has compiled
        setattr(self, name, found)
        return found


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return the pattern of ``text``, whose methods can be called as those of ``re.compile``'s.

    For patterns that take milliseconds to compile. It takes no lock: two threads may compile one twice.
    """
    return cast("re.Pattern[str]", _Pattern(text, flags))
