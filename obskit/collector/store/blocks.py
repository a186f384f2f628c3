"""Blocks: some hundred spans in order of arrival, stored as one compressed JSON list with an index for searches."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import msgspec

from obskit.collector.store.chunks import SEPARATOR, compress, inflate, stored
from obskit.collector.store.entries import Entries, entries_of, joined
from obskit.collector.store.filters import Place, build, places_of, tokens_of
from obskit.collector.store.packed import of_entries
from obskit.zipkin.model import Span, local_service

MOST_SPANS = 500  # in a block: to read one span, its whole block is read
MOST_BYTES = 1024 * 1024  # of their JSON; a single larger span is a block of its own
TRACE_SIZE = 8  # bytes of an id in ``Block.traces``
_LEVEL = 1  # compression level: spans are so repetitive that a higher one gains little

_decode = msgspec.json.Decoder(list[Span]).decode


class Damaged(ValueError):
    """A block that cannot be read."""


@dataclass(frozen=True)
class Block:
    """What is stored of some spans. Times are microseconds; 0 where no span has one."""

    spans: int
    first: int
    newest: int
    longest: int
    filter: bytes
    traces: bytes  # the low 64 bits of their trace ids, each once
    services: dict[int, tuple[int, int]]  # for each local service, its spans and the bytes of their JSON
    data: bytes
    requests: bytes  # see packed

    @property
    def size(self) -> int:
        """About how many bytes it takes in the database."""
        return len(self.filter) + 4 * len(self.traces) + len(self.data) + len(self.requests) + 100


def low_id(trace_id: str) -> int:
    """Return the low 64 bits of a trace id as a signed number, which is SQLite's integer type."""
    number = int(trace_id[-16:], 16)
    return number - (1 << 64) if number >> 63 else number


def low_ids(trace_ids: list[str]) -> list[int]:
    """Return ``low_id`` of each."""
    digits = "".join([trace_id[-16:] for trace_id in trace_ids])
    if len(digits) < 16 * len(trace_ids):
        return list(map(low_id, trace_ids))
    numbers = array("q", bytes.fromhex(digits))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tolist()


def service_id(name: str | None) -> int:
    """Return a number that stands for a service's name, which may be long; 0 for spans without a service."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True) if name else 0


class Part:
    """Spans with the JSON of each, and what a block says of them, found out when first asked for."""

    def __init__(self, spans: Sequence[Span], lines: Sequence[bytes]) -> None:
        self.spans = spans
        self.lines = lines

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """Return several as one, without looking at their spans again."""
        if len(parts) == 1:
            return parts[0]
        found = cls([span for part in parts for span in part.spans], [line for part in parts for line in part.lines])
        found.lows = [low for part in parts for low in part.lows]
        found.places = set[Place]().union(*[part.places for part in parts])
        found.services = {}
        for part in parts:
            for service, (spans, size) in part.services.items():
                before = found.services.get(service, (0, 0))
                found.services[service] = before[0] + spans, before[1] + size
        found.entries = joined([part.entries for part in parts])
        return found

    def __getitem__(self, cut: slice) -> Part:
        """Return some of the spans."""
        is_whole = cut.indices(len(self.spans)) == (0, len(self.spans), 1)
        return self if is_whole else Part(self.spans[cut], self.lines[cut])

    @cached_property
    def lows(self) -> list[int]:
        """The low 64 bits of the trace id of each span."""
        return low_ids([span.trace_id for span in self.spans])

    @cached_property
    def places(self) -> set[Place]:
        """The names of services and spans, see filters."""
        return places_of(self.spans)

    @cached_property
    def entries(self) -> Entries:
        """The requests."""
        return entries_of(self.spans)

    @cached_property
    def services(self) -> dict[int, tuple[int, int]]:
        """``Block.services``."""
        if len(services := {service for service, _, _ in self.places}) == 1:  # as a rule, in a message
            return {service_id(*services): (len(self.spans), sum(map(len, self.lines)))}
        names = list(map(local_service, self.spans))
        counts = Counter(names)
        sizes = dict.fromkeys(counts, 0)
        for name, line in zip(names, self.lines, strict=True):
            sizes[name] += len(line)
        return {service_id(name): (count, sizes[name]) for name, count in counts.items()}


def pack(part: Part, *, final: bool = False) -> Block:
    """Return a block of these spans.

    A small block will soon be merged with its neighbours, so it is neither compressed nor given a filter or columns.
    """
    spans = part.spans
    small = not final and is_small(len(spans), sum(map(len, part.lines)))
    times = [moment for span in spans if (moment := span.timestamp)]
    return Block(
        spans=len(spans),
        first=min(times, default=0),
        newest=max(times, default=0),
        longest=max([span.duration or 0 for span in spans]),
        filter=b"" if small else build(tokens_of(spans, part.places)),
        traces=array("q", sorted({*part.lows})).tobytes(),
        services=part.services,
        data=stored(_joined(part.lines)) if small else compress(part.lines, part.lows, _LEVEL),
        requests=b"" if small else of_entries(part.entries),
    )


def unpack(data: bytes) -> list[Span]:
    """Return the spans of a block's data. Raises Damaged."""
    try:
        return _decode(zlib.decompress(data))
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def unpack_trace(data: bytes, traces: bytes, trace: int) -> list[Span]:
    """Return the spans of one trace, by its low 64 bits, without decoding the others. Raises Damaged.

    ``traces`` are those of the block.
    """
    mark = b"%016x" % (trace & 0xFFFFFFFFFFFFFFFF)
    spans = _unpack_lines(mark, lambda: inflate(data, trace_numbers(traces), trace))  # some may have it elsewhere
    return [span for span in spans if low_id(span.trace_id) == trace]


def unpack_with(data: bytes, mark: bytes) -> list[Span]:
    """Return the spans of a block whose JSON holds a text, without decoding the others. Raises Damaged."""
    return _unpack_lines(mark, lambda: zlib.decompress(data))


def _unpack_lines(mark: bytes, read: Callable[[], bytes]) -> list[Span]:
    try:
        return _decode(_joined(_lines_with(read(), mark)))
    except (zlib.error, msgspec.MsgspecError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def _lines_with(text: bytes, mark: bytes) -> Iterator[bytes]:
    """Yield the JSON of each span of a block, or of some chunks of it, that holds a text."""
    end = 0
    while (place := text.find(mark, end)) >= 0:
        separator = text.rfind(SEPARATOR, end, place)
        begin = end + text.startswith(b"[", end) if separator < 0 else separator + len(SEPARATOR)
        end = text.find(SEPARATOR, place)
        end = len(text) - text.endswith(b"]") if end < 0 else end
        yield text[begin:end]


def decode_lines(lines: Iterable[bytes]) -> list[Span]:
    """Return the spans of their JSON. Raises Damaged."""
    try:
        return _decode(_joined(lines))
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def _joined(lines: Iterable[bytes]) -> bytes:
    return b"[" + SEPARATOR.join(lines) + b"]"


def lines_of(data: bytes) -> list[bytes]:
    """Return the JSON of each span. Raises Damaged."""
    try:
        return zlib.decompress(data)[1:-1].split(SEPARATOR)
    except (zlib.error, TypeError) as error:
        raise Damaged(str(error)) from None


def trace_numbers(traces: bytes) -> array[int]:
    """Return the ids in ``Block.traces``."""
    numbers = array("q")
    numbers.frombytes(traces)
    return numbers


def slices(lines: Sequence[bytes]) -> Iterable[slice]:
    """Return where to cut a message into blocks."""
    if len(lines) <= MOST_SPANS and sum(map(len, lines)) <= MOST_BYTES:
        return [slice(0, len(lines))]
    return _cuts(lines)


def _cuts(lines: Sequence[bytes]) -> Iterator[slice]:
    start = size = 0
    for number, line in enumerate(lines):
        size += len(line)
        if number > start and (number - start >= MOST_SPANS or size > MOST_BYTES):
            yield slice(start, number)
            start, size = number, len(line)
    yield slice(start, len(lines))


def is_small(spans: int, size: int) -> bool:
    """Return True for a block that should be merged with its neighbours: many small ones are slow to search."""
    return spans < MOST_SPANS // 2 and size < MOST_BYTES // 4
