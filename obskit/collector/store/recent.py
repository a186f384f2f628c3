"""The store's caches, both bounded: hashes of recently stored spans, and recently read blocks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from obskit.zipkin.model import Span

BlockKey = tuple[int, int, int]  # number, last, spans: a block that was merged or cut has another key
SpansByTrace = dict[int, list[Span]]
_MOST_HASHES = 40_000  # of 100 bytes
_MOST_BYTES = 1024 * 1024  # compressed bytes; in memory they take about thirty times as much


class RecentSpans:
    """The spans of recent traces: one that is sent again is recognised without reading blocks.

    Known are the hash of each span and the first block of each trace. What is older than the last one or two
    ``_MOST_HASHES`` is forgotten at once, so that nothing is done for a single span. For one thread at a time.
    """

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._begins: dict[int, int] = {}
        self._traces: set[int] = set()  # of the hashes; known is only one whose begin is
        self._older: tuple[set[int], dict[int, int], set[int]] = set(), {}, set()

    def unknown(self, traces: Iterable[int]) -> set[int]:
        """Return the traces of which nothing is known."""
        return set(traces).difference(self._begins).difference(self._older[1])

    def add(self, traces: Iterable[int], hashes: Sequence[int]) -> Sequence[int]:
        """Note the hashes of spans of some traces; return the places of those that were not known."""
        older, new = self._older[0], set(hashes)
        if len(new) == len(hashes) and new.isdisjoint(self._hashes) and new.isdisjoint(older):
            places: Sequence[int] = range(len(hashes))
        else:
            first = {digest: place for place, digest in reversed(list(enumerate(hashes)))}
            places = sorted(first[digest] for digest in new - self._hashes - older)
        self._hashes |= new
        self._traces.update(traces)
        return places

    def begin(self, traces: Iterable[int], number: int) -> None:
        """Note the first block of those traces that were unknown."""
        self._begins.update(dict.fromkeys(self.unknown(traces), number))

    def begins(self, traces: Collection[int]) -> set[int]:
        """Return the numbers of the first blocks of the traces that are known."""
        found = {*map(self._begins.get, traces), *map(self._older[1].get, traces)}
        return {number for number in found if number is not None}

    def age(self) -> None:
        """Forget the older ones, if there are enough. Not amid a message: a known trace has all of its hashes."""
        if len(self._hashes) > _MOST_HASHES:
            self._older = self._hashes, self._begins, self._traces
            self._hashes, self._begins, self._traces = set(), {}, set()

    def drop(self, traces: Collection[int]) -> None:
        """Forget all if there are hashes of some of these traces: spans of theirs are no longer stored."""
        if not (self._traces.isdisjoint(traces) and self._older[2].isdisjoint(traces)):
            self._hashes, self._begins, self._traces, self._older = set(), {}, set(), (set(), {}, set())


class RecentBlocks:
    """Decoded blocks. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[BlockKey, tuple[SpansByTrace, int]] = OrderedDict()
        self._size = 0

    def get(self, key: BlockKey) -> SpansByTrace | None:
        """Return the spans of a block, or None. They must not be changed."""
        with self._lock:
            found = self._blocks.get(key)
            if found is None:
                return None
            self._blocks.move_to_end(key)
            return found[0]

    def put(self, key: BlockKey, spans: SpansByTrace, size: int) -> None:
        """Cache a block, and drop the least recently used ones."""
        with self._lock:
            if size > _MOST_BYTES or key in self._blocks:
                return
            self._blocks[key] = spans, size
            self._size += size
            while self._size > _MOST_BYTES:
                self._size -= self._blocks.popitem(last=False)[1][1]
