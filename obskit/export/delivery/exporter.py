"""The interface between the pipeline and its exporters."""

from __future__ import annotations

from typing import Any, Protocol

from obskit.base.records import NamedTuple


class Outcome(NamedTuple):
    """How an attempt to deliver a batch ended.

    ``reason`` is empty where it was delivered, else a word that ``stats()`` counts losses under; ``detail`` is for
    people. ``retry`` says that the same batch may succeed later, not before ``retry_after`` seconds. ``rejected`` is
    how many items of a delivered batch the receiver refused for good. ``too_large`` says that fewer at once may do.
    """

    reason: str = ""
    detail: str = ""
    retry: bool = False
    retry_after: float = 0.0
    rejected: int = 0
    too_large: bool = False


DELIVERED = Outcome()
UNREACHABLE = "unreachable"
"""The reason of an Outcome when no connection could be made, or no answer came."""


class Exporter(Protocol):
    """Sends spans to one destination. All methods run on the pipeline's thread, with tracing suppressed.

    A batch has at most ``batch_items`` items, and ``batch_bytes`` as ``size`` counts them; a larger item is sent alone.
    One whose ``opens_again`` is true can be used after ``close`` as before.
    """

    batch_items: int
    batch_bytes: int

    def encode(self, span: Any) -> Any:
        """Return ``span`` in this exporter's encoding; an exception drops this span only."""

    def size(self, item: Any) -> int:
        """Return an encoded span's size in bytes, or an estimate."""

    def send(self, items: list[Any], deadline: float) -> Outcome:
        """Deliver a batch before ``deadline`` (of ``time.monotonic``)."""

    def close(self) -> None:
        """Release all resources, without waiting."""
