"""Every stored request (when it ended, how long it took, whether it failed), as the scatter plot draws them.

A request is an entry span: that of a server or a consumer, or the root of a trace, as for the health numbers. They
stand in columns beside each block (see ``packed``); those of a block that still grows are read from its spans.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress
from operator import itemgetter

import msgspec

from obskit.collector.deadline import Deadline
from obskit.collector.query import entries_among
from obskit.collector.store.health_numbers import bucket_of
from obskit.collector.store.packed import BUCKETS, LATEST, UNKNOWN, Packed, Row, Share, Ticks, packed, read
from obskit.collector.store.reading import Reader
from obskit.collector.store.recent import BlockKey

_AROUND = 900_000_000  # microseconds: requests that began up to this long before the window are found
_MOST_KEPT = 2_000_000  # requests in memory
_TOGETHER = 100  # blocks read at once


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

    @property
    def row(self) -> Row:
        """Return it as a request."""
        took, failed = self.duration or 0, self.tags is not None and self.tags.error is not None
        service = (self.local_endpoint and self.local_endpoint.service_name) or UNKNOWN
        end, root = self.timestamp + took, self.parent_id is None
        return Row(end, took, failed, root, service, self.name or "", self.trace_id)


_decode = msgspec.json.Decoder(list[_Entry]).decode


def _rows(data: bytes | None) -> list[Row]:
    """Return the requests of a block; none of a damaged one, so that the others can still be shown."""
    try:
        return [entry.row for entry in entries_among(_decode(zlib.decompress(data)))] if data else []
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError):
        return []


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


@dataclass(frozen=True)
class Part:
    """Requests of one block: all, those of a service, those that failed, or those at the places ``chosen``.

    Which they are is looked up when somebody asks for single ones: how many there are is known without.
    """

    packed: Packed
    chosen: Sequence[int] | None = None
    service: int | None = None
    failed: bool = False

    def __len__(self) -> int:
        if self.chosen is not None:
            return len(self.chosen)
        return self.errors if self.failed else len(self.packed) if self._share is None else self._share.calls

    @property
    def errors(self) -> int:
        """Return how many failed."""
        if self.chosen is not None:
            return sum(self.column("failed"))
        return self.packed.errors if self._share is None else self._share.errors

    @property
    def ticks(self) -> Ticks | None:
        """Return them in steps of time and duration; None where that takes a look at each."""
        return None if self.failed or self.chosen is not None else self.packed.ticks_of(self.service)

    def column(self, name: str) -> Sequence[int]:
        """Return what these requests have in a column."""
        column: Sequence[int] = getattr(self.packed.columns, name)
        places = self._places
        if len(places) == len(column):
            return column
        if len(places) == 1:
            return (column[places[0]],)
        return itemgetter(*places)(column) if places else ()

    def row(self, place: int) -> Row:
        """Return one of them."""
        return self.packed.row(self._places[place])

    def of_service(self, service: str) -> Part:
        """Return those of a service."""
        shares = self.packed.shares
        if self.chosen is not None or not shares:
            return self.named("services", service)
        texts = self.packed.texts[: len(shares)]
        return Part(self.packed, None, texts.index(service)) if service in texts else Part(self.packed, ())

    def only_failed(self) -> Part:
        """Return those that failed."""
        return Part(self.packed, None, self.service, True) if self.chosen is None else self._only("failed", 1)

    def named(self, name: str, text: str) -> Part:
        """Return those with a text in a column."""
        texts = self.packed.texts
        return self._only(name, texts.index(text)) if text in texts else Part(self.packed, ())

    def _only(self, name: str, value: int) -> Part:
        """Return those with a value in a column."""
        column = getattr(self.packed.columns, name)
        return Part(self.packed, [place for place in self._places if column[place] == value])

    def ended(self, first: int, last: int) -> Part:
        """Return those that ended between two times."""
        begin, end = self.packed.ends
        if first <= begin and end <= last:
            return self
        ends = self.packed.columns.ends
        return Part(self.packed, [place for place in self._places if first <= ends[place] <= last])

    def lasted(self, shortest: int, longest: int) -> Part:
        """Return those with a duration in a range. Their buckets, one byte each, tell it of most of them quickly."""
        least, most = self.packed.took
        if shortest <= least and most <= longest:
            return self
        if shortest > most or longest < least:
            return Part(self.packed, ())
        columns, took = self.packed.columns, self.packed.columns.took
        low, high = (min(bucket_of(duration), BUCKETS - 1) for duration in (shortest, longest))
        inside = bytes(low < bucket < high for bucket in range(BUCKETS))
        edges = bytes(bucket in (low, high) for bucket in range(BUCKETS))
        places = range(len(self.packed))
        found = list(compress(places, columns.buckets.translate(inside)))
        near = compress(places, columns.buckets.translate(edges))
        found += [place for place in near if shortest <= took[place] <= longest]
        if self.chosen is not None:
            found = list(set(self.chosen).intersection(found))
        return Part(self.packed, found)

    @property
    def _share(self) -> Share | None:
        return None if self.service is None else self.packed.shares[self.service]

    @cached_property
    def _places(self) -> Sequence[int]:
        if self.chosen is not None:
            return self.chosen
        places: Sequence[int] = range(len(self.packed))
        columns = self.packed.columns if self.failed or self.service is not None else None
        if columns and self.service is not None:
            services = columns.services
            places = [place for place in places if services[place] == self.service]
        if columns and self.failed:
            places = [place for place in places if columns.failed[place]]
        return places


@dataclass(frozen=True)
class Found:
    """The requests that were found, by block."""

    parts: list[Part]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Row]:
        return (part.row(place) for part in self.parts for place in range(len(part)))

    @property
    def errors(self) -> int:
        """Return how many of them failed."""
        return sum(part.errors for part in self.parts)

    @property
    def extent(self) -> tuple[int, int]:
        """Return when the first and the last request of these blocks ended; 0 if there is none."""
        extents = [part.packed.ends for part in self.parts]
        return min((first for first, _ in extents), default=0), max((last for _, last in extents), default=0)

    def failed(self) -> Found:
        """Return those that failed."""
        return Found([part.only_failed() for part in self.parts if part.errors])

    def column(self, name: str) -> Iterable[int]:
        """Return what all of them have in a column."""
        return chain.from_iterable(part.column(name) for part in self.parts)

    def extremes(self, name: str, number: int, *, largest: bool) -> list[Row]:
        """Return the ``number`` largest or smallest by ``ends`` or ``took``, sorted.

        Blocks are looked at from that with the most extreme one on, until no other can have one that counts.
        """
        sign = 1 if largest else -1
        bounds = [sign * getattr(part.packed, name)[largest] for part in self.parts]
        best: list[tuple[int, int, int]] = []
        for position in sorted(range(len(self.parts)), key=bounds.__getitem__, reverse=True):
            least = best[-1][0] if len(best) == number else -LATEST
            if bounds[position] < least:
                break
            values = (sign * value for value in self.parts[position].column(name))
            best += [(value, position, place) for place, value in enumerate(values) if value > least]
            best = sorted(best, reverse=True)[:number]
        return [self.parts[position].row(place) for _, position, place in best]


class Requests:
    """The requests of a store. Any thread may use it. Raises StoreError."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._packed: OrderedDict[BlockKey, Packed] = OrderedDict()
        self._kept = 0

    def forget(self) -> None:
        """Empty the cache: a write has failed, so block numbers may be used again."""
        with self._lock:
            self._packed.clear()
            self._kept = 0

    def newest(self) -> int:
        """Return when the newest span of all began (microseconds); 0 if none is stored."""
        return self._reader.newest()

    def find(self, wanted: Wanted, deadline: Deadline) -> Found:
        """Return the requests, those of the newest blocks first. Raises Stopped at the deadline."""
        keys = self._reader.keys_of_time(max(wanted.first - _AROUND, 1), min(wanted.last, LATEST))
        blocks = self._cached(keys)
        missing = [key for key in keys if key not in blocks]
        for start in range(0, len(missing), _TOGETHER):
            deadline.check()
            blocks |= self._read(missing[start : start + _TOGETHER])
        deadline.check()
        parts = (_matching(blocks[key], wanted) for key in keys)
        return Found([part for part in parts if part is not None and len(part)])

    def _cached(self, keys: Iterable[BlockKey]) -> dict[BlockKey, Packed]:
        with self._lock:
            found = {key: self._packed[key] for key in keys if key in self._packed}
            for key in found:
                self._packed.move_to_end(key)
        return found

    def _read(self, keys: Sequence[BlockKey]) -> dict[BlockKey, Packed]:
        """Read some blocks, those without columns from their spans."""
        written = self._reader.requests(keys)
        found = {
            key: read(written[key[0]]) if key[0] in written else packed(_rows(self._reader.data(key))) for key in keys
        }
        with self._lock:
            for key in found.keys() - self._packed.keys():
                self._packed[key] = found[key]
                self._kept += len(found[key])
            while self._kept > _MOST_KEPT and len(self._packed) > 1:
                self._kept -= len(self._packed.popitem(last=False)[1])
        return found


def _matching(requests: Packed, wanted: Wanted) -> Part | None:
    """Return the matching requests of a block."""
    first, last = requests.ends
    if first > wanted.last or last < wanted.first or (wanted.failed and not requests.errors):
        return None
    part = Part(requests).ended(wanted.first, wanted.last)
    if wanted.shortest or wanted.longest is not None:
        part = part.lasted(wanted.shortest, LATEST if wanted.longest is None else wanted.longest)
    if wanted.service is not None:
        part = part.of_service(wanted.service)
    if wanted.name is not None:
        part = part.named("names", wanted.name)
    return part.only_failed() if wanted.failed else part
