"""Every stored request: when it ended, how long it took, whether it failed. What the scatter plot draws.

A request is an entry span: that of a server or a consumer, or the root of a trace; health numbers count the same. They
are read from the blocks once and kept in memory, 42 bytes each; blocks do not change, new ones are read when asked for.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from obskit.collector.deadline import Deadline
from obskit.collector.query import is_entry
from obskit.collector.store.database import StoreError
from obskit.collector.store.reading import Reader
from obskit.collector.store.recent import BlockKey
from obskit.zipkin.model import Span

_AROUND = 900_000_000  # microseconds: blocks of requests that began so long before the window are looked at too
_MOST_KEPT = 2_000_000  # requests in memory
_LATEST = 2**63 - 1
_MOST_TEXTS = 100_000
_HALF = 16  # digits of half a trace id


class Request(NamedTuple):
    """One request. Times are microseconds; service and name are numbers of ``Requests.text``."""

    end: int
    took: int
    failed: int
    root: int  # nothing led to it
    service: int
    name: int
    high: int  # of the trace id
    low: int

    @property
    def trace_id(self) -> str:
        """Return the id as it was sent."""
        return f"{self.high:016x}{self.low:016x}" if self.high else f"{self.low:016x}"


@dataclass(frozen=True)
class Wanted:
    """Which requests: those that ended between two moments and took so long (microseconds, both included)."""

    first: int
    last: int
    service: str | None = None
    name: str | None = None
    shortest: int = 0
    longest: int | None = None
    failed: bool = False  # only those that failed


@dataclass
class _Packed:
    """The requests of a block, a column each."""

    ends: array[int] = field(default_factory=lambda: array("q"))
    took: array[int] = field(default_factory=lambda: array("q"))
    failed: bytearray = field(default_factory=bytearray)
    roots: bytearray = field(default_factory=bytearray)
    services: array[int] = field(default_factory=lambda: array("I"))
    names: array[int] = field(default_factory=lambda: array("I"))
    highs: array[int] = field(default_factory=lambda: array("Q"))
    lows: array[int] = field(default_factory=lambda: array("Q"))
    first: int = 0
    last: int = 0

    def requests(self) -> Iterator[Request]:
        columns = (self.ends, self.took, self.failed, self.roots, self.services, self.names, self.highs, self.lows)
        return map(Request._make, zip(*columns, strict=True))


class Requests:
    """The requests of a store. Any thread may ask. Raises StoreError."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._packed: OrderedDict[BlockKey, _Packed] = OrderedDict()
        self._kept = 0
        self._numbers: dict[str, int] = {"other": 0}
        self._texts = ["other"]  # many names are remembered, beyond that one stands for the rest

    def forget(self) -> None:
        """Forget what was read: a write has failed, and numbers of its blocks may come again."""
        with self._lock:
            self._packed.clear()
            self._kept = 0

    def text(self, number: int) -> str:
        """Return the service or name of a number."""
        return self._texts[number]

    def find(self, wanted: Wanted, deadline: Deadline) -> list[Request]:
        """Return the requests, those of the newest blocks first. Raises Stopped at the deadline."""
        found: list[Request] = []
        for header in self._reader.headers(max(wanted.first - _AROUND, 1), wanted.last):
            deadline.check()
            packed = self._block(header.key)
            if packed.ends and packed.last >= wanted.first and packed.first <= wanted.last:
                found += self._matching(packed, wanted)
        return found

    def _matching(self, packed: _Packed, wanted: Wanted) -> Iterable[Request]:
        found = packed.requests()
        if packed.first < wanted.first or packed.last > wanted.last:
            found = (one for one in found if wanted.first <= one.end <= wanted.last)
        if wanted.service is not None:
            service = self._numbers.get(wanted.service, -1)
            found = (one for one in found if one.service == service)
        if wanted.name is not None:
            name = self._numbers.get(wanted.name, -1)
            found = (one for one in found if one.name == name)
        if wanted.shortest or wanted.longest is not None:
            longest = wanted.longest if wanted.longest is not None else 2**63
            found = (one for one in found if wanted.shortest <= one.took <= longest)
        return (one for one in found if one.failed) if wanted.failed else found

    def _block(self, key: BlockKey) -> _Packed:
        with self._lock:
            packed = self._packed.get(key)
            if packed is not None:
                self._packed.move_to_end(key)
                return packed
        try:
            spans = [span for trace in self._reader.block(key).values() for span in trace]
        except StoreError:  # damaged: the others can be shown all the same
            spans = []
        with self._lock:
            packed = self._packed[key] = self._pack(span for span in spans if is_entry(span))
            self._kept += len(packed.ends)
            while self._kept > _MOST_KEPT and len(self._packed) > 1:
                self._kept -= len(self._packed.popitem(last=False)[1].ends)
        return packed

    def _pack(self, spans: Iterable[Span]) -> _Packed:
        packed = _Packed()
        for span in spans:
            took = span.duration or 0
            service = (span.local_endpoint and span.local_endpoint.service_name) or "unknown"
            packed.ends.append(min((span.timestamp or 0) + took, _LATEST))
            packed.took.append(took)
            packed.failed.append("error" in span.tags)
            packed.roots.append(span.parent_id is None)
            packed.services.append(self._number(service))
            packed.names.append(self._number(span.name or ""))
            packed.highs.append(int(span.trace_id[:-_HALF] or "0", 16))
            packed.lows.append(int(span.trace_id[-_HALF:], 16))
        packed.first, packed.last = min(packed.ends, default=0), max(packed.ends, default=0)
        return packed

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is not None:
            return number
        if len(self._texts) > _MOST_TEXTS:
            return self._numbers["other"]
        self._numbers[text] = len(self._texts)
        self._texts.append(text)
        return self._numbers[text]
