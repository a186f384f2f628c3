"""The data of a block in chunks: one trace is read from the few chunks that have its spans.

The whole is a zlib stream, which any release reads from its start. It is flushed after each chunk, so that this can be
inflated alone. Behind the stream stands where the chunks begin, and for each trace of the block which of them have it.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence

SEPARATOR = b",\n"  # between two spans; JSON has no newline within a text
_FEWEST = 64  # spans of a chunk: of fewer, each costs more than it saves
_MOST_CHUNKS = 8  # a bit each in a byte
_HEADER = 2  # bytes of the stream before its first chunk
_PLAIN = b"\x78\x01"  # such a header
_LONGEST = 0xFFFF  # bytes of a piece that is not compressed
_RAW = -15  # zlib's number for a stream without header
_MARK = b"\xffcut"
_NUMBER = array("I").itemsize


def compress(lines: Sequence[bytes], lows: Sequence[int], level: int) -> bytes:
    """Return a JSON list of lines, each of a span of the trace in ``lows``, compressed."""
    step = max(_FEWEST, -(-len(lines) // _MOST_CHUNKS))
    stream, position = zlib.compressobj(level), 0
    parts: list[bytes] = []
    numbers = array("I")  # for each chunk, where it begins, and its checksum
    masks: dict[int, int] = {}
    for number, begin in enumerate(range(0, len(lines), step)):
        part = stream.compress(_text(lines, begin, begin + step)) + stream.flush(zlib.Z_FULL_FLUSH)
        parts.append(part)
        start = 0 if number else _HEADER
        numbers.extend((position + start, zlib.crc32(part[start:])))
        position += len(part)
        for low in {*lows[begin : begin + step]}:
            masks[low] = masks.get(low, 0) | 1 << number
    numbers.append(position)
    places = bytes([masks[low] for low in sorted(masks)])
    return b"".join([*parts, stream.flush(), places, numbers.tobytes(), bytes([len(parts)]), _MARK])


def _text(lines: Sequence[bytes], begin: int, end: int) -> bytes:
    before = b"" if begin else b"["
    return before + SEPARATOR.join(lines[begin:end]) + (SEPARATOR if end < len(lines) else b"]")


def stored(data: bytes) -> bytes:
    """Return such a stream without compressing, for which zlib itself takes ten times as long."""
    parts = [_PLAIN]
    for begin in range(0, len(data), _LONGEST):
        piece = data[begin : begin + _LONGEST]
        is_last = begin + _LONGEST >= len(data)
        parts += (struct.pack("<?HH", is_last, len(piece), len(piece) ^ _LONGEST), piece)
    return b"".join([*parts, zlib.adler32(data).to_bytes(4, "big")])


def inflate(data: bytes, traces: Sequence[int], trace: int) -> bytes:
    """Return the chunks that have spans of a trace; ``traces`` are those of the block, sorted.

    All of what is not in chunks. Raises zlib.error or ValueError.
    """
    if not data.endswith(_MARK):
        return zlib.decompress(data)
    count = data[-len(_MARK) - 1]
    end = len(data) - len(_MARK) - 1
    begin = end - _NUMBER * (2 * count + 1)
    numbers = array("I", data[begin:end])
    place = bisect_left(traces, trace)
    if place == len(traces) or traces[place] != trace:
        return b""
    mask = data[begin - len(traces) + place]
    bounds = zip(numbers[0:-1:2], numbers[1::2], [*numbers[2:-1:2], numbers[-1]], strict=True)
    return b"".join(_chunk(data[first:last], crc) for at, (first, crc, last) in enumerate(bounds) if mask >> at & 1)


def _chunk(data: bytes, checksum: int) -> bytes:
    if zlib.crc32(data) != checksum:
        raise ValueError("a chunk has another checksum")
    return zlib.decompressobj(_RAW).decompress(data)
