"""Tells an obskit collector what was lost on the way there, with the messages that are sent anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from obskit.base.told_losses import HEADER, TAKES, Losses, encode

if TYPE_CHECKING:
    from obskit.export.delivery.ledger import Ledger


class LossReport:
    """The header of one exporter's messages. ``known`` says that they go to an obskit collector; else it says so."""

    def __init__(self, service: str, items: str, known: bool = False) -> None:
        self.ledger: Ledger | None = None
        self._service = service
        self._items = items
        self._known = self._takes = known

    def headers(self) -> dict[str, str]:
        """Return the header; none where nothing was lost, or where the receiver does not take it."""
        dropped = self.ledger.snapshot()["dropped"] if self._takes and self.ledger else None
        if not dropped or not self.ledger:
            return {}
        return {HEADER: encode(Losses(self.ledger.name, self._service, self._items, dropped))}

    def learn(self, answer: Mapping[str, str]) -> None:
        """Learn from an answer's headers whether the receiver takes it."""
        self._takes = self._known or answer.get(TAKES) == "losses"
