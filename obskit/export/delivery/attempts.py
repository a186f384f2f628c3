"""Batches within an exporter's limits, halves of refused ones, and growing pauses between attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from obskit.base.chance import between
from obskit.export.delivery.exporter import Exporter

Item = TypeVar("Item")


class Backoff:
    """The pauses between attempts: each twice as long as the one before, from ``first`` up to ``longest`` seconds.

    Each is randomly up to half shorter, so that processes that failed together do not retry together.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return between(pause / 2, pause)

    def reset(self) -> None:
        """Start again from ``first``, after a success."""
        self._next = self._first


def encoded_batches(
    exporter: Exporter, spans: Iterable[Any], drop: Callable[[], object], most_bytes: float = float("inf")
) -> Iterator[list[Any]]:
    """Yield ``spans`` as batches of encoded items within the exporter's limits, each of ``most_bytes`` at the most.

    A span that cannot be encoded is left out: ``drop`` is called for it, while its exception is being handled. A
    foreign exporter may raise anything, SystemExit as well.
    """
    encode, size_of = exporter.encode, exporter.size
    most_items, most_bytes = exporter.batch_items, min(exporter.batch_bytes, most_bytes)
    batch: list[Any] = []
    size = 0
    for span in spans:
        try:
            item = encode(span)
            length = size_of(item)
        except BaseException:
            drop()
            continue
        if batch and (size + length > most_bytes or len(batch) >= most_items):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def send_in_halves(
    items: list[Item], is_refused: Callable[[list[Item], bool], bool], most: float = float("inf")
) -> None:
    """Send ``items``, and the halves of a refused part, so that a bad item does not cost the others.

    ``is_refused`` sends a part and tells whether to try its halves; its second argument is True if that is not
    possible: the part is a single item, or ``most`` attempts have been made.
    """
    parts, attempts = [items], 0
    while parts:
        part = parts.pop()
        attempts += 1
        last = len(part) == 1 or attempts > most
        if is_refused(part, last) and not last:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
