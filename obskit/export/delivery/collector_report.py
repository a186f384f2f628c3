"""What an obskit collector is told of a process with the messages sent anyway: what it lost, what it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from obskit.base import told_running
from obskit.base.told_losses import HEADER, LONGEST, TAKES, TAKES_ALL, Losses, encode

if TYPE_CHECKING:
    from obskit.export.delivery.ledger import Ledger


class CollectorReport:
    """Headers of one exporter's messages. ``known`` says that they go to an obskit collector; else its answers do."""

    def __init__(self, service: str, items: str, known: bool = False) -> None:
        self.ledger: Ledger | None = None
        self._service = service
        self._items = items
        self._known = self._takes = known

    def headers(self) -> dict[str, str]:
        """Return the headers; none where the receiver does not take them."""
        if not self._takes:
            return {}
        return _short({**self.losses(), told_running.HEADER: told_running.encode(self._service)})

    def losses(self) -> dict[str, str]:
        """Return the header that says what was lost, for any receiver; none where nothing was."""
        dropped = self.ledger.snapshot()["dropped"] if self.ledger else None
        if not dropped or not self.ledger:
            return {}
        return _short({HEADER: encode(Losses(self.ledger.name, self._service, self._items, dropped))})

    def learn(self, answer: Mapping[str, str]) -> None:
        """Learn from an answer's headers whether the receiver takes them."""
        self._takes = self._known or answer.get(TAKES) == TAKES_ALL


def _short(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if len(value) <= LONGEST}
