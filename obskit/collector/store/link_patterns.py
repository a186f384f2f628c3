"""The links of many traces, small: when each trace began and ended, and which of a few patterns of links it has.

Traces of one kind of request call the same services equally often, so a thousand traces have a dozen patterns.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from obskit.collector.links import Link, Links
from obskit.collector.store.outlines import Outline
from obskit.zipkin.model import Span, local_service, remote_service

_LEVEL = 1  # of compression
_LARGE = 64  # spans: traces of more are rarely alike
_MOST_SHAPES = 1_000  # that are remembered
_LONGEST_USUAL = 200  # characters of a service's name in these
_NO_PARENT, _NOT_HERE = -2, -1
_Shape = tuple[object, ...]


class _Stored(msgspec.Struct, array_like=True):
    """The form in the database."""

    patterns: list[list[Link]]
    oldest: bytes
    newest: bytes
    pattern: bytes


_decode = msgspec.msgpack.Decoder(_Stored).decode
_links_of_shape: dict[_Shape, list[Link]] = {}


class LinkPatterns:
    """Traces, each with its first and last timestamp (microseconds) and the number of its pattern.

    A span without a timestamp counts as 0: the first timestamp of a trace that has one is stored as a negative number.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._of_shape: dict[_Shape, int] = {}
        self._patterns: list[list[Link]] = []
        self._oldest = array("q")
        self._newest = array("q")
        self._pattern = array("I")

    @classmethod
    def unpacked(cls, data: bytes) -> LinkPatterns:
        """Return what ``packed`` made."""
        stored = _decode(zlib.decompress(data))
        found = cls()
        for links in stored.patterns:
            found._number(links)
        for mine, its in (
            (found._oldest, stored.oldest),
            (found._newest, stored.newest),
            (found._pattern, stored.pattern),
        ):
            mine.frombytes(its)
        return found

    def packed(self) -> bytes:
        """Return it as bytes."""
        columns = (self._oldest.tobytes(), self._newest.tobytes(), self._pattern.tobytes())
        return zlib.compress(msgspec.msgpack.encode(_Stored(self._patterns, *columns)), _LEVEL)

    def add(self, outlines: list[Outline]) -> bool:
        """Add a trace by the outlines of its spans; return False where these do not suffice, or have no timestamp."""
        shape = _shape(outlines)
        pattern = None if shape is None else self._number_of(shape)
        return pattern is not None and self._add(pattern, outlines)

    def add_spans(self, spans: list[Span], outlines: list[Outline]) -> bool:
        """Add a trace by its spans; return False where these have no timestamp."""
        return self._add(self._number(_links(spans, _shape(outlines))), outlines)

    def _add(self, pattern: int, outlines: list[Outline]) -> bool:
        times = [outline.timestamp for outline in outlines]
        newest = max(times)
        if newest:
            self._oldest.append(min(times) or -min(filter(None, times)))
            self._newest.append(newest)
            self._pattern.append(pattern)
        return newest > 0

    def add_all(self, other: LinkPatterns) -> None:
        """Add the traces of others."""
        numbers = [self._number(links) for links in other._patterns]
        self._oldest += other._oldest
        self._newest += other._newest
        self._pattern.extend([numbers[pattern] for pattern in other._pattern])

    @property
    def times(self) -> tuple[int, int, int]:
        """Return the earliest time of all, the earliest end of a trace, and the latest time."""
        return max(min(self._oldest, default=0), 0), min(self._newest, default=0), max(self._newest, default=0)

    def total(self) -> list[Link]:
        """Return the links of all traces."""
        return self._sum(Counter(self._pattern))

    def between(self, first: int, last: int) -> list[Link] | None:
        """Return the links of the traces with a span between two times; None if that needs more than is known here."""
        chosen: Counter[int] = Counter()
        for oldest, newest, pattern in zip(self._oldest, self._newest, self._pattern, strict=True):
            if oldest < 0 == first:
                chosen[pattern] += 1
            elif first <= newest and abs(oldest) <= last:
                if abs(oldest) < first and last < newest:
                    return None  # one of the spans between may be inside
                chosen[pattern] += 1
        return self._sum(chosen)

    def _sum(self, counts: Counter[int]) -> list[Link]:
        links = Links()
        for pattern, count in counts.items():
            links.add_counted(self._patterns[pattern], count)
        return links.as_list()

    def _number_of(self, shape: _Shape) -> int | None:
        """Return the number of the pattern of traces of a known shape."""
        number = self._of_shape.get(shape)
        if number is None and (links := _links_of_shape.get(shape)) is not None:
            number = self._of_shape[shape] = self._number(links)
        return number

    def _number(self, links: Iterable[Link]) -> int:
        links = list(links)
        number = self._numbers.setdefault(msgspec.msgpack.encode(links), len(self._patterns))
        if number == len(self._patterns):
            self._patterns.append(links)
        return number


def _links(spans: list[Span], shape: _Shape | None) -> list[Link]:
    """Return the links of a trace, which must not be changed; those of usual shapes are remembered."""
    links = Links()
    links.add(spans)
    found = links.as_list()
    if shape is not None and sum(len(text) for text in _texts(spans)) <= _LONGEST_USUAL * len(spans):
        if len(_links_of_shape) >= _MOST_SHAPES:
            _links_of_shape.clear()
        _links_of_shape[shape] = found
    return found


def _texts(spans: list[Span]) -> Iterator[str]:
    """Yield what the spans keep in memory in a shape."""
    for span in spans:
        yield from filter(None, (local_service(span), remote_service(span)))


def _shape(outlines: list[Outline]) -> _Shape | None:
    """Return what the links of a trace depend on, whatever its ids; None where they depend on more, or it is large."""
    if len(outlines) > _LARGE or True in [outline.shared for outline in outlines]:
        return None
    places: dict[str | None, int] = {outline.id: place for place, outline in enumerate(outlines)}
    parents = [outline.parent_id for outline in outlines]
    if len(places) < len(outlines) or parents.count(None) > 1:  # pieces of a span; the order of ids chooses the root
        return None
    places[None] = _NO_PARENT
    return (
        *[places.get(parent, _NOT_HERE) for parent in parents],
        *[
            (
                its.kind,
                its.local_endpoint,
                its.remote_endpoint,
                (tags := its.tags) is not None and tags.error is not None,
            )
            for its in outlines
        ],
    )
