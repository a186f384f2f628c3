"""What the store remembers in memory: which spans came lately, and the blocks that were read lately. Both bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from obskit.zipkin.model import Span

BlockKey = tuple[int, int, int]  # number, last, spans: one that was merged or cut is another block
SpansByTrace = dict[int, list[Span]]
_MOST_HASHES = 200_000
_MOST_BYTES = 1024 * 1024  # as stored, compressed; in memory it is some thirty times as much


@dataclass
class Known:
    """What is remembered of a trace: the number of its first block (0: none yet), and the hashes of its spans."""

    begin: int = 0
    hashes: set[int] = field(default_factory=set)


class RecentSpans:
    """The hashes of the spans of recent traces: what is sent again is found without reading blocks.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._traces: OrderedDict[int, Known] = OrderedDict()
        self._count = 0

    def take(self, trace: int) -> Known | None:
        """What is remembered of a trace, or None. It must be put back."""
        known = self._traces.pop(trace, None)
        self._count -= len(known.hashes) if known else 0
        return known

    def put(self, trace: int, known: Known) -> None:
        """Remembers a trace, and drops those that were not used for longest."""
        self.drop([trace])
        self._traces[trace] = known
        self._count += len(known.hashes)
        while self._count > _MOST_HASHES and len(self._traces) > 1:
            self._count -= len(self._traces.popitem(last=False)[1].hashes)

    def drop(self, traces: Iterable[int]) -> None:
        """Forget traces: some of their spans are not stored any more."""
        for trace in traces:
            self.take(trace)


class RecentBlocks:
    """Blocks as they were read. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[BlockKey, tuple[SpansByTrace, int]] = OrderedDict()
        self._size = 0

    def get(self, key: BlockKey) -> SpansByTrace | None:
        """The spans of a block, or None. They must not be changed."""
        with self._lock:
            found = self._blocks.get(key)
            if found is None:
                return None
            self._blocks.move_to_end(key)
            return found[0]

    def put(self, key: BlockKey, spans: SpansByTrace, size: int) -> None:
        """Keeps a block, and drops those that were not used for longest."""
        with self._lock:
            if size > _MOST_BYTES or key in self._blocks:
                return
            self._blocks[key] = spans, size
            self._size += size
            while self._size > _MOST_BYTES:
                self._size -= self._blocks.popitem(last=False)[1][1]
