"""Some hundred lines of one service as one compressed JSON list, with what a search asks before it reads them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from obskit.collector.lines.line import Line, Words
from obskit.collector.store.blocks import Damaged, low_id

MOST_LINES = 500
MOST_BYTES = 256 * 1024  # of their JSON, but for a single larger one
_OVERHEAD = 300  # bytes of a row and its places in the indexes
_LEVEL = 1
_MINUTE = 60_000_000  # microseconds
_SEPARATOR = ",\n"  # between two lines; JSON has no newline within a text

Counts = list[tuple[int, int, int]]  # minute, severity, how many lines

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Line]).decode
_decode_counts = msgspec.json.Decoder(Counts).decode


@dataclass(frozen=True)
class Block:
    """What is stored of some lines. Times are microseconds."""

    lines: int
    first_id: int
    last_id: int
    first: int
    newest: int
    worst: int  # severity
    counts: bytes
    traces: list[int]  # the low 64 bits of their trace ids, each once
    data: bytes
    is_small: bool  # it will be merged with its neighbours

    @property
    def size(self) -> int:
        """About how many bytes it takes in the database."""
        return len(self.data) + len(self.counts) + 20 * len(self.traces) + _OVERHEAD


def pack(lines: Sequence[Line]) -> Block:
    """Return the block of these lines, which are in order of arrival."""
    data = b"[" + b",\n".join(map(_encode, lines)) + b"]"
    times = [line.time for line in lines]
    counts = Counter((line.time // _MINUTE, line.severity) for line in lines)
    return Block(
        lines=len(lines),
        first_id=lines[0].id,
        last_id=lines[-1].id,
        first=min(times),
        newest=max(times),
        worst=max(line.severity for line in lines),
        counts=_encode([(*key, number) for key, number in counts.items()]),
        traces=traces_of(lines),
        data=zlib.compress(data, _LEVEL),
        is_small=len(lines) < MOST_LINES // 2 and len(data) < MOST_BYTES // 4,
    )


def traces_of(lines: Iterable[Line]) -> list[int]:
    """Return the low 64 bits of their trace ids, each once."""
    return sorted({low_id(line.trace) for line in lines if line.trace})


def unpack(data: bytes, words: Words = Words()) -> list[Line]:  # noqa: B008 - it is never changed
    """Return the lines of a block's data that may have ``words``. Raises Damaged."""
    try:
        text = zlib.decompress(data)
        return _decode(text) if not words.needles else _decode(_which_may(text.decode(), words))
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def _which_may(text: str, words: Words) -> str:
    lowered = text.lower()
    if not words.may_match(lowered):
        return "[]"
    pairs = zip(text[1:-1].split(_SEPARATOR), lowered[1:-1].split(_SEPARATOR), strict=True)
    return "[" + ",".join(line for line, low in pairs if words.may_match(low)) + "]"


def unpack_counts(counts: bytes) -> Counts:
    """Return how many lines of each severity a block has in each minute. Raises Damaged."""
    try:
        return _decode_counts(counts)
    except (msgspec.MsgspecError, TypeError) as error:
        raise Damaged(str(error)) from None


def slices(lines: Sequence[Line]) -> list[Sequence[Line]]:
    """Return the lines of a message, cut into what becomes a block each."""
    parts: list[Sequence[Line]] = []
    start = size = 0
    for number, line in enumerate(lines):
        size += len(line.message)
        if number > start and (number - start >= MOST_LINES or size > MOST_BYTES):
            parts.append(lines[start:number])
            start, size = number, len(line.message)
    return [*parts, lines[start:]]
