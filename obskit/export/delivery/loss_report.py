"""Tells an obskit collector what was lost on the way there, with the messages that are sent anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from obskit.base.told_losses import HEADER, LONGEST, TAKES, Losses, encode

if TYPE_CHECKING:
    from obskit.export.delivery.ledger import Ledger


class LossReport:
    """The header of one exporter's messages. ``known`` says that they go to an obskit collector; else it says so."""

    def __init__(self, service: str, items: str, known: bool = False) -> None:
        self.ledger: Ledger | None = None
        self._service = service
        self._items = items
        self._known = self._takes = known

    def headers(self, *, unasked: bool = False) -> dict[str, str]:
        """Return the header; none where nothing was lost, the receiver does not take it, or it would be too long.

        ``unasked``: there are no answers that say whether it takes it, and it harms none.
        """
        dropped = self.ledger.snapshot()["dropped"] if (self._takes or unasked) and self.ledger else None
        if not dropped or not self.ledger:
            return {}
        value = encode(Losses(self.ledger.name, self._service, self._items, dropped))
        return {HEADER: value} if len(value) <= LONGEST else {}

    def learn(self, answer: Mapping[str, str]) -> None:
        """Learn from an answer's headers whether the receiver takes it."""
        self._takes = self._known or answer.get(TAKES) == "losses"
