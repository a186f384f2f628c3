"""What the pipeline asks of an exporter, and what an exporter answers."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from obskit.tracing.span import Span


class Outcome(NamedTuple):
    """How an attempt to deliver a batch ended.

    ``reason`` is empty where it was delivered, else a word that ``stats()`` counts losses under; ``detail`` is for
    people. ``retry`` says that the same batch may succeed later, not before ``retry_after`` seconds. ``rejected`` is
    how many items of a delivered batch the receiver refused for good.
    """

    reason: str = ""
    detail: str = ""
    retry: bool = False
    retry_after: float = 0.0
    rejected: int = 0


DELIVERED = Outcome()
UNREACHABLE = "unreachable"
"""The reason of an Outcome where nobody listens, or no answer came."""


class Exporter(Protocol):
    """Brings spans to one destination. All methods run on the pipeline's thread, with tracing suppressed there."""

    def encode(self, span: Span) -> Any:
        """Return ``span`` as this exporter sends it; an exception drops this span only."""

    def size(self, item: Any) -> int:
        """Return an encoded span's size in bytes, or an estimate."""

    def send(self, items: list[Any], deadline: float) -> Outcome:
        """Deliver a batch before ``deadline`` (of ``time.monotonic``)."""

    def close(self) -> None:
        """Release what is held, without waiting for anything."""
