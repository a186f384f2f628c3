"""The headers of one hop, in a mapping that a client has made for it: written in few steps."""

from __future__ import annotations

from obskit.propagation.carriers import Entries
from obskit.propagation.headers import Fields


class OwnHeaders(Entries):
    """A dict, or a mapping that is written to as one."""

    def have_any(self, names: frozenset[str]) -> bool:
        """Return whether one of ``names`` is there, in whatever spelling."""
        try:
            return not names.isdisjoint(map(str.lower, self.headers))
        except TypeError:  # names in bytes: whoever looks closely finds out
            return True

    def add(self, fields: Fields) -> None:
        """Add ``fields``."""
        self.headers.update(fields)
