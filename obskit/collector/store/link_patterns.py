"""The links of many traces, small: when each trace began and ended, and which of a few patterns of links it has.

Traces of one kind of request call the same services equally often, so a thousand traces have a dozen patterns.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable

import msgspec

from obskit.collector.links import Link, Links
from obskit.zipkin.model import Span

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
        self._of_shape: dict[_Shape | None, int] = {}
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

    def add(self, spans: list[Span], times: list[int]) -> None:
        """Add a trace with spans at these times."""
        self._oldest.append(min(times) or -min(filter(None, times)))
        self._newest.append(max(times))
        self._pattern.append(self._number_of(spans))

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

    def _number_of(self, spans: list[Span]) -> int:
        """Return the number of a trace's pattern. Traces of the same shape are looked at once."""
        shape = _shape(spans)
        number = self._of_shape.get(shape)
        if number is None:
            number = self._number(_links(spans, shape))
            if shape is not None:
                self._of_shape[shape] = number
        return number

    def _number(self, links: Iterable[Link]) -> int:
        links = list(links)
        number = self._numbers.setdefault(msgspec.msgpack.encode(links), len(self._patterns))
        if number == len(self._patterns):
            self._patterns.append(links)
        return number


def _links(spans: list[Span], shape: _Shape | None) -> list[Link]:
    """Return the links of a trace, which must not be changed; those of usual shapes are remembered."""
    known = None if shape is None else _links_of_shape.get(shape)
    if known is not None:
        return known
    links = Links()
    links.add(spans)
    found = links.as_list()
    if shape is not None and all(len(text) <= _LONGEST_USUAL for text in shape if isinstance(text, str)):
        if len(_links_of_shape) >= _MOST_SHAPES:
            _links_of_shape.clear()
        _links_of_shape[shape] = found
    return found


def _shape(spans: list[Span]) -> _Shape | None:
    """Return what the links of a trace depend on, whatever its ids; None where they depend on more, or it is large."""
    if len(spans) > _LARGE or True in [span.shared for span in spans]:
        return None
    places: dict[str | None, int] = {span.id: place for place, span in enumerate(spans)}
    above = [places.get(span.parent_id, _NOT_HERE) if span.parent_id else _NO_PARENT for span in spans]
    if len(places) < len(spans) or above.count(_NO_PARENT) > 1:  # pieces of a span; the order of ids chooses the root
        return None
    local, remote = [span.local_endpoint for span in spans], [span.remote_endpoint for span in spans]
    return (
        *above,
        *[span.kind for span in spans],
        *[endpoint and endpoint.service_name for endpoint in local],
        *[endpoint and endpoint.service_name for endpoint in remote],
        *["error" in span.tags for span in spans],
    )
