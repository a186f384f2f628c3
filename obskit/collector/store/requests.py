"""Every stored request (when it ended, how long it took, whether it failed), as the scatter plot draws them.

A request is an entry span: that of a server or a consumer, or the root of a trace, as for the health numbers. Requests
are read from the blocks once and cached at 42 bytes each: blocks do not change, and new ones are read on demand.
"""

from __future__ import annotations

import heapq
import threading
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any, NamedTuple

import msgspec

from obskit.collector.deadline import Deadline
from obskit.collector.query import is_entry
from obskit.collector.store.cells import bucket_of
from obskit.collector.store.reading import Reader
from obskit.collector.store.recent import BlockKey

TICK = 10_000_000  # microseconds: resolution of the times in ``Packed.counts``
_AROUND = 900_000_000  # microseconds: requests that began up to this long before the window are found
_MOST_KEPT = 2_000_000  # requests in memory
_LATEST = 2**63 - 1
_MOST_TEXTS = 100_000
_HALF = 16  # hexadecimal digits of half a trace id


class _Endpoint(msgspec.Struct, rename="camel", gc=False):
    service_name: str | None = None


class _Tags(msgspec.Struct, gc=False):
    error: str | None = None


class _Entry(msgspec.Struct, rename="camel", gc=False):
    """What is read of a span: the rest costs half of the time of decoding it."""

    trace_id: str
    parent_id: str | None = None
    kind: str | None = None
    name: str | None = None
    timestamp: int = 0
    duration: int | None = None
    local_endpoint: _Endpoint | None = None
    tags: _Tags | None = None


_decode = msgspec.json.Decoder(list[_Entry]).decode


def _entries(data: bytes | None) -> list[_Entry]:
    """Return the entry spans of a block; none of a damaged one, so that the others can still be shown."""
    try:
        return [entry for entry in _decode(zlib.decompress(data)) if is_entry(entry)] if data else []
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError):
        return []


class Request(NamedTuple):
    """One request. Times are microseconds; service and name are keys of ``Requests.text``."""

    end: int
    took: int
    failed: int
    root: int  # it has no parent
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
    """A filter: requests that ended within a window, with a duration within a range (microseconds, inclusive)."""

    first: int
    last: int
    service: str | None = None
    name: str | None = None
    shortest: int = 0
    longest: int | None = None
    failed: bool = False  # only failed ones


@dataclass
class Packed:
    """Requests of one block in columns."""

    ends: array[int] = field(default_factory=lambda: array("q"))
    took: array[int] = field(default_factory=lambda: array("q"))
    failed: bytearray = field(default_factory=bytearray)
    roots: bytearray = field(default_factory=bytearray)
    services: array[int] = field(default_factory=lambda: array("I"))
    names: array[int] = field(default_factory=lambda: array("I"))
    highs: array[int] = field(default_factory=lambda: array("Q"))
    lows: array[int] = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def columns(self) -> list[Any]:
        """Return the columns in the order of the fields of ``Request``."""
        return [self.ends, self.took, self.failed, self.roots, self.services, self.names, self.highs, self.lows]

    def __getitem__(self, number: int) -> Request:
        return Request(*(column[number] for column in self.columns))

    def add(self, other: Packed) -> None:
        """Add other requests."""
        for mine, its in zip(self.columns, other.columns, strict=True):
            mine.extend(its)

    def only(self, chosen: Iterable[bool]) -> Packed:
        """Return the selected ones."""
        numbers = list(compress(range(len(self)), chosen))
        some = Packed()
        for mine, its in zip(some.columns, self.columns, strict=True):
            mine.extend([its[number] for number in numbers])
        return some

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Return when the first and the last request ended."""
        return min(self.ends, default=0), max(self.ends, default=0)

    @cached_property
    def counts(self) -> dict[tuple[int, int], list[int]]:
        """Return the numbers of requests and of errors by 10 s of their end and bucket of their duration."""
        found: dict[tuple[int, int], list[int]] = {}
        for end, took, failed in zip(self.ends, self.took, self.failed, strict=True):
            counts = found.setdefault((end // TICK, bucket_of(took)), [0, 0])
            counts[0] += 1
            counts[1] += failed
        return found


@dataclass(frozen=True)
class Found:
    """The requests that were found, by block."""

    parts: list[Packed]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def errors(self) -> int:
        """Return how many of them failed."""
        return sum(part.failed.count(1) for part in self.parts)

    @property
    def extent(self) -> tuple[int, int]:
        """Return when the first and the last request ended; 0 if there is none."""
        extents = [part.extent for part in self.parts]
        return min((first for first, _ in extents), default=0), max((last for _, last in extents), default=0)

    @cached_property
    def all(self) -> Packed:
        """Return all of them in one set of columns."""
        whole = Packed()
        for part in self.parts:
            whole.add(part)
        return whole

    def extremes(self, field_name: str, number: int, *, largest: bool) -> list[Request]:
        """Return the ``number`` largest or smallest by a field, sorted."""
        pick = heapq.nlargest if largest else heapq.nsmallest
        column = self.all.columns[Request._fields.index(field_name)]
        return [self.all[place] for place in pick(number, range(len(column)), key=column.__getitem__)]


class Requests:
    """The requests of a store. Any thread may use it. Raises StoreError."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._packed: OrderedDict[BlockKey, Packed] = OrderedDict()
        self._kept = 0
        self._numbers: dict[str, int] = {"other": 0}
        self._texts = ["other"]  # names are bounded: one number stands for all beyond the limit

    def forget(self) -> None:
        """Empty the cache: a write has failed, so block numbers may be used again."""
        with self._lock:
            self._packed.clear()
            self._kept = 0

    def text(self, number: int) -> str:
        """Return the service or name of a number."""
        return self._texts[number]

    def find(self, wanted: Wanted, deadline: Deadline) -> Found:
        """Return the requests, those of the newest blocks first. Raises Stopped at the deadline."""
        parts: list[Packed] = []
        for header in self._reader.headers(max(wanted.first - _AROUND, 1), wanted.last):
            deadline.check()
            part = self._matching(self._block(header.key), wanted)
            if part:
                parts.append(part)
        return Found(parts)

    def _matching(self, packed: Packed, wanted: Wanted) -> Packed:
        """Return the matching requests of a block; if all match, without a copy."""
        first, last = packed.extent
        if first > wanted.last or last < wanted.first:
            return Packed()
        if first < wanted.first or last > wanted.last:
            packed = packed.only(wanted.first <= end <= wanted.last for end in packed.ends)
        if wanted.service is not None:
            packed = packed.only(map(self._numbers.get(wanted.service, -1).__eq__, packed.services))
        if wanted.name is not None:
            packed = packed.only(map(self._numbers.get(wanted.name, -1).__eq__, packed.names))
        if wanted.shortest or wanted.longest is not None:
            longest = _LATEST if wanted.longest is None else wanted.longest
            packed = packed.only(wanted.shortest <= took <= longest for took in packed.took)
        return packed.only(map(bool, packed.failed)) if wanted.failed else packed

    def _block(self, key: BlockKey) -> Packed:
        with self._lock:
            packed = self._packed.get(key)
            if packed is not None:
                self._packed.move_to_end(key)
                return packed
        entries = _entries(self._reader.data(key))
        with self._lock:
            packed = self._packed[key] = self._pack(entries)
            self._kept += len(packed.ends)
            while self._kept > _MOST_KEPT and len(self._packed) > 1:
                self._kept -= len(self._packed.popitem(last=False)[1].ends)
        return packed

    def _pack(self, entries: list[_Entry]) -> Packed:
        took = [entry.duration or 0 for entry in entries]
        ids = [entry.trace_id for entry in entries]
        services = [(entry.local_endpoint and entry.local_endpoint.service_name) or "unknown" for entry in entries]
        return Packed(
            array("q", [min(entry.timestamp + its, _LATEST) for entry, its in zip(entries, took, strict=True)]),
            array("q", took),
            bytearray([entry.tags is not None and entry.tags.error is not None for entry in entries]),
            bytearray([entry.parent_id is None for entry in entries]),
            array("I", map(self._number, services)),
            array("I", [self._number(entry.name or "") for entry in entries]),
            array("Q", [int(trace_id[:-_HALF] or "0", 16) for trace_id in ids]),
            array("Q", [int(trace_id[-_HALF:], 16) for trace_id in ids]),
        )

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is not None:
            return number
        if len(self._texts) > _MOST_TEXTS:
            return self._numbers["other"]
        self._numbers[text] = len(self._texts)
        self._texts.append(text)
        return self._numbers[text]
