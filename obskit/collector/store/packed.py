"""The requests of one block in columns, and how these are stored beside the block.

What pictures of very many requests need (how many there are in each ten seconds and of each duration) is ready; the
columns are unpacked when somebody asks for single requests.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, compress, groupby
from operator import add
from typing import Any, NamedTuple

import msgspec

from obskit.collector.store.entries import Entries
from obskit.collector.store.health_numbers import buckets_of

TICK = 10_000_000  # microseconds: resolution of the times in ``Packed.ticks``
BUCKETS = 256  # a longer duration is in the last one
LATEST = 2**63 - 1
UNKNOWN = "unknown"  # the service of a span that does not say
_ID = 16  # bytes of a trace id
_LEVEL = 1  # of compression
_BYTES = "b"


class Row(NamedTuple):
    """One request. Times are microseconds; ``root`` is 1 where it has no parent."""

    end: int
    took: int
    failed: int
    root: int
    service: str
    name: str
    trace_id: str


class Columns(NamedTuple):
    """The same of many, with the buckets of the durations; services and names are places in ``Packed.texts``."""

    ends: Sequence[int]
    took: Sequence[int]
    buckets: bytes
    failed: bytes
    roots: bytes
    services: Sequence[int]
    names: Sequence[int]
    ids: bytes  # 16 for each


Ticks = list[tuple[int, tuple[bytes, list[int], list[int]]]]
"""For ten seconds each: the buckets of durations, and the calls and errors in these."""

_read_ticks = msgspec.msgpack.Decoder(Ticks).decode


class Share(NamedTuple):
    """What one service has of a block: calls, errors and, unless it has all, ticks as they are stored."""

    calls: int
    errors: int
    ticks: bytes


class Packed(msgspec.Struct, array_like=True, dict=True):
    """Requests of one block. ``shares`` are of the first ``texts``, the services; none in files from before."""

    number: int = 0
    errors: int = 0
    ends: tuple[int, int] = (0, 0)  # when the first and the last one ended
    took: tuple[int, int] = (0, 0)
    ticks: Ticks = []
    texts: list[str] = []
    codes: str = ""  # the types of the columns
    data: bytes = b""
    shares: list[Share] = []

    def __len__(self) -> int:
        return self.number

    @cached_property
    def columns(self) -> Columns:
        """Return the columns."""
        content, place, found = zlib.decompress(self.data), 0, list[Any]()
        for code in self.codes:
            column = array(code)
            size = column.itemsize * self.number
            column.frombytes(content[place : place + size])
            found.append(column.tobytes() if code == _BYTES else column)
            place += size
        found[0] = [self.ends[0] + end for end in found[0]]
        found.append(content[place:])
        return Columns(*found)

    def ticks_of(self, service: int | None) -> Ticks:
        """Return the ticks of all services, or those of one that has a share."""
        if service is None or not self.shares[service].ticks:
            return self.ticks
        return _read_ticks(self.shares[service].ticks)

    def row(self, place: int) -> Row:
        """Return one of the requests."""
        its = self.columns
        trace_id = its.ids[_ID * place : _ID * (place + 1)].hex()
        trace_id = trace_id[_ID:] if trace_id.startswith("0" * _ID) else trace_id
        service, name = self.texts[its.services[place]], self.texts[its.names[place]]
        return Row(its.ends[place], its.took[place], its.failed[place], its.roots[place], service, name, trace_id)


_read = msgspec.msgpack.Decoder(Packed).decode


def of_entries(entries: Entries) -> bytes:
    """Return what is stored of requests; empty if there are none."""
    if not entries.times:
        return b""
    ends = list(map(add, entries.times, entries.took))
    services = entries.services if all(entries.services) else [service or UNKNOWN for service in entries.services]
    rest = (entries.failed, entries.roots, services, entries.names, entries.ids, entries.buckets)
    return msgspec.msgpack.encode(_packed(ends, entries.took, *rest))


def read(data: bytes) -> Packed:
    """Return what was stored; nothing of what is damaged, so that the others can still be shown."""
    try:
        return _read(data)
    except msgspec.MsgspecError:
        return Packed()


def packed(rows: Sequence[tuple[int, int, int, int, str, str, str]]) -> Packed:
    """Return rows, whose fields are those of ``Row``, in columns."""
    if not rows:
        return Packed()
    ends, took, failed, roots, services, names, ids = zip(*rows, strict=True)
    return _packed(ends, took, failed, roots, services, names, ids, buckets_of(took))


def _packed(
    ends: Sequence[int],
    took: Sequence[int],
    failed: Sequence[int],
    roots: Sequence[int],
    services: Sequence[str],
    names: Sequence[str],
    ids: Sequence[str],
    exact: Sequence[int],
) -> Packed:
    places = {text: place for place, text in enumerate(dict.fromkeys(chain(services, names)))}
    buckets = bytes(exact) if max(exact) < BUCKETS else bytes([min(bucket, BUCKETS - 1) for bucket in exact])
    steps = [end // TICK * BUCKETS + bucket for end, bucket in zip(ends, buckets, strict=True)]
    first, last = min(ends), max(ends)
    columns: list[bytes | array[int]] = [
        _array([end - first for end in ends], last - first),
        _array(took, max(took)),
        buckets,
        bytes(failed),
        bytes(roots),
        *(_array(map(places.__getitem__, texts), len(places)) for texts in (services, names)),
    ]
    codes = "".join(_BYTES if isinstance(column, bytes) else column.typecode for column in columns)
    content = [*columns, _bytes_of(ids)]
    return Packed(
        len(ends),
        sum(failed),
        (first, last),
        (min(took), max(took)),
        _ticks(steps, failed),
        list(places),
        codes,
        zlib.compress(b"".join(content), _LEVEL),
        _shares(services, steps, failed),
    )


def _bytes_of(ids: Sequence[str]) -> bytes:
    """Return ``_ID`` bytes for each, which may have as many digits."""
    digits = "".join(ids)
    if len(digits) != _ID * len(ids):
        return bytes.fromhex("".join([trace_id.zfill(2 * _ID) for trace_id in ids]))
    halves = array("Q", bytes(len(digits)))
    halves[1::2] = array("Q", bytes.fromhex(digits))
    return halves.tobytes()


def _array(numbers: Iterable[int], largest: int) -> array[int]:
    """Return numbers in as few bytes as the largest takes."""
    return array("B" if largest < 1 << 8 else "I" if largest < 1 << 32 else "Q", numbers)


def _shares(services: Sequence[str], steps: Sequence[int], failed: Sequence[int]) -> list[Share]:
    parts: dict[str, tuple[list[int], list[int]]] = {}
    begin = 0
    for service, run in groupby(services):  # those of a message are together
        end = begin + len(list(run))
        its = parts.setdefault(service, ([], []))
        its[0].extend(steps[begin:end])
        its[1].extend(failed[begin:end])
        begin = end
    if len(parts) == 1:
        return [Share(len(steps), sum(failed), b"")]
    return [Share(len(its), sum(errors), msgspec.msgpack.encode(_ticks(its, errors))) for its, errors in parts.values()]


def _ticks(steps: Sequence[int], failed: Sequence[int]) -> Ticks:
    """Return the ticks of requests: of the tick and bucket of each, in one number, and whether it failed."""
    calls, errors = Counter(steps), Counter(compress(steps, failed))
    found: dict[int, tuple[bytearray, list[int], list[int]]] = {}
    for key, number in calls.items():
        its = found.get(key // BUCKETS)
        if its is None:
            its = found[key // BUCKETS] = bytearray(), [], []
        its[0].append(key % BUCKETS)
        its[1].append(number)
        its[2].append(errors[key])
    return [(tick, (bytes(its), calls, errors)) for tick, (its, calls, errors) in found.items()]
