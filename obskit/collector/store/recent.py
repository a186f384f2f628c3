"""The store's caches, both bounded: hashes of recently stored spans, and recently read blocks."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from obskit.zipkin.model import Span

BlockKey = tuple[int, int, int]  # number, last, spans: a block that was merged or cut has another key
SpansByTrace = dict[int, list[Span]]
_MOST_HASHES = 100_000
_FEW = 64  # hashes of a trace that are searched one by one
_MOST_BYTES = 1024 * 1024  # compressed bytes; in memory they take about thirty times as much


class Known:
    """What is known of a trace: the number of its first block (0: none yet), and the hashes of its spans."""

    __slots__ = ("begin", "hashes")

    def __init__(self, begin: int = 0) -> None:
        self.begin = begin
        self.hashes: array[int] | set[int] = array("q")  # an array takes a fifth of the memory of a small set

    def add(self, digest: int) -> bool:
        """Add the hash of a span; return False if it was there."""
        hashes = self.hashes
        if digest in hashes:
            return False
        if isinstance(hashes, set):
            hashes.add(digest)
        elif len(hashes) < _FEW:
            hashes.append(digest)
        else:
            self.hashes = {*hashes, digest}
        return True


class RecentSpans:
    """The hashes of the spans of recent traces: a span that is sent again is recognised without reading blocks.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._traces: OrderedDict[int, Known] = OrderedDict()
        self._count = 0

    def take(self, traces: Iterable[int]) -> dict[int, Known]:
        """Remove and return what is known of traces. The caller must ``put`` it back."""
        found: dict[int, Known] = {}
        for trace in traces:
            known = self._traces.pop(trace, None)
            if known is not None:
                found[trace] = known
                self._count -= len(known.hashes)
        return found

    def put(self, traces: Mapping[int, Known]) -> None:
        """Cache traces that were taken, or were not there, and drop the least recently used ones."""
        self._traces.update(traces)
        self._count += sum([len(known.hashes) for known in traces.values()])
        while self._count > _MOST_HASHES and len(self._traces) > 1:
            self._count -= len(self._traces.popitem(last=False)[1].hashes)

    def drop(self, traces: Iterable[int]) -> None:
        """Drop traces of which some spans are no longer stored."""
        self.take(traces)


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
