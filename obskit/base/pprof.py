"""The pprof format: a gzip-compressed protobuf message, written and read without the protobuf library.

Source: profile.proto of github.com/google/pprof, and the wire format of protocol buffers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from obskit.base.protobuf import BYTES, FIXED32, FIXED64, VARINT, read_varint, varint

_REST_EVERY = 200  # samples
_GZIP = 16 + zlib.MAX_WBITS


class Location(NamedTuple):
    """A line of a function."""

    function: str
    file: str
    first_line: int
    line: int


class ValueType(NamedTuple):
    """What a value counts and in which unit, such as ``cpu`` in ``nanoseconds``."""

    kind: str
    unit: str


class Sample(NamedTuple):
    """Values (one for each sample type) of a stack, innermost first, under labels."""

    stack: tuple[Location, ...]
    values: tuple[int, ...]
    labels: tuple[tuple[str, str], ...] = ()


class Profile(NamedTuple):
    """A profile: when it began (epoch) and how long it took in nanoseconds, and one sample in each ``period``."""

    sample_types: tuple[ValueType, ...]
    samples: Sequence[Sample]
    period_type: ValueType
    period: int
    time_ns: int
    duration_ns: int


class UnreadableProfile(ValueError):
    """The bytes are not a pprof file."""


# Writing


def encode(profile: Profile, rest: Callable[[], object] = lambda: None) -> bytes:
    """Return the contents of a ``.pprof.gz`` file. ``rest`` is called now and then, to let other threads run."""
    tables = _Tables()
    out = bytearray()
    for value_type in profile.sample_types:
        _bytes(out, 1, tables.value_type(value_type))
    for number, sample in enumerate(profile.samples):
        _bytes(out, 2, tables.sample(sample))
        if number % _REST_EVERY == 0:
            rest()
    _number(out, 9, profile.time_ns)
    _number(out, 10, profile.duration_ns)
    _bytes(out, 11, tables.value_type(profile.period_type))
    _number(out, 12, profile.period)
    _number(out, 14, tables.text(profile.sample_types[-1].kind))
    tables.write(out)
    return _compress(bytes(out))


def _compress(data: bytes) -> bytes:
    gzip = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return gzip.compress(data) + gzip.flush()


class _Tables:
    """What samples refer to by number: texts from 0 (which is empty), functions and locations from 1."""

    def __init__(self) -> None:
        self._texts: dict[Hashable, int] = {"": 0}
        self._functions: dict[Hashable, int] = {}
        self._locations: dict[Hashable, int] = {}

    def text(self, value: str) -> int:
        return self._texts.setdefault(value, len(self._texts))

    def value_type(self, value_type: ValueType) -> bytes:
        out = bytearray()
        _number(out, 1, self.text(value_type.kind))
        _number(out, 2, self.text(value_type.unit))
        return bytes(out)

    def sample(self, sample: Sample) -> bytes:
        out = bytearray()
        _bytes(out, 1, b"".join(map(varint, map(self._location, sample.stack))))
        _bytes(out, 2, b"".join(map(varint, sample.values)))
        for key, value in sample.labels:
            label = bytearray()
            _number(label, 1, self.text(key))
            _number(label, 2, self.text(value))
            _bytes(out, 3, label)
        return bytes(out)

    def _location(self, location: Location) -> int:
        return self._locations.setdefault(location, len(self._locations) + 1)

    def write(self, out: bytearray) -> None:
        for location, number in self._locations.items():
            _bytes(out, 4, self._location_message(location, number))  # type: ignore[arg-type]
        for function, number in self._functions.items():
            _bytes(out, 5, self._function_message(function, number))  # type: ignore[arg-type]
        for text in self._texts:
            _bytes(out, 6, str(text).encode("utf-8", "replace"))

    def _location_message(self, location: Location, number: int) -> bytes:
        line, out = bytearray(), bytearray()
        function = self._functions.setdefault(location[:3], len(self._functions) + 1)
        _number(line, 1, function)
        _number(line, 2, location.line)
        _number(out, 1, number)
        _bytes(out, 4, line)
        return bytes(out)

    def _function_message(self, function: tuple[str, str, int], number: int) -> bytes:
        """Leave out the system name: where it equals the name, pprof takes ``<module>`` for a C++ template."""
        name, file, first_line = function
        out = bytearray()
        for field, value in ((1, number), (2, self.text(name)), (4, self.text(file)), (5, first_line)):
            _number(out, field, value)
        return bytes(out)


def _number(out: bytearray, field: int, value: int) -> None:
    if value:
        out += varint(field << 3 | VARINT) + varint(value)


def _bytes(out: bytearray, field: int, value: bytes | bytearray) -> None:
    out += varint(field << 3 | BYTES) + varint(len(value))
    out += value


# Reading


def decode(data: bytes) -> Profile:
    """Return the profile in a pprof file, compressed or not. Raises UnreadableProfile."""
    try:
        fields = list(_fields(zlib.decompress(data, _GZIP) if data[:2] == b"\x1f\x8b" else data))
        return _Reader(fields).profile()
    except (LookupError, TypeError, ValueError, zlib.error) as error:
        raise UnreadableProfile(f"not a pprof profile ({error})") from error


Field = tuple[int, int, bytes]
"""Number, value and content of a field: one of value and content counts."""


class _Reader:
    """A profile's message, with what its samples refer to by number."""

    def __init__(self, fields: list[Field]) -> None:
        self._fields = fields
        self._texts = [content.decode("utf-8", "replace") for number, _, content in fields if number == 6]
        functions = [self._numbers(content) for content in self._all(5)]
        self._functions = {one.get(1, 0): one for one in functions}
        self._locations = {one[0]: one[1] for one in map(self._location, self._all(4))}

    def profile(self) -> Profile:
        numbers = {number: value for number, value, _ in self._fields}
        types = tuple(map(self._value_type, self._all(1)))
        samples = [self._sample(content) for content in self._all(2)]
        period_type = next(map(self._value_type, self._all(11)), ValueType("", ""))
        if not types or any(len(sample.values) != len(types) for sample in samples):
            raise ValueError("no sample types, or other values than they say")
        return Profile(types, samples, period_type, numbers.get(12, 0), numbers.get(9, 0), numbers.get(10, 0))

    def _all(self, wanted: int) -> Iterator[bytes]:
        return (content for number, _, content in self._fields if number == wanted)

    def _numbers(self, message: bytes) -> dict[int, int]:
        return {number: value for number, value, _ in _fields(message)}

    def _value_type(self, message: bytes) -> ValueType:
        numbers = self._numbers(message)
        return ValueType(self._texts[numbers.get(1, 0)], self._texts[numbers.get(2, 0)])

    def _location(self, message: bytes) -> tuple[int, list[Location]]:
        """Return a location's number, and its lines, innermost first: there are several where calls were inlined."""
        fields = list(_fields(message))
        lines = [self._line(self._numbers(content)) for number, _, content in fields if number == 4]
        number = next((value for number, value, _ in fields if number == 1), 0)
        address = next((value for number, value, _ in fields if number == 3), 0)
        return number, lines or [Location(hex(address), "", 0, 0)]

    def _line(self, numbers: dict[int, int]) -> Location:
        function = self._functions[numbers.get(1, 0)]
        name, file = self._texts[function.get(2, 0)], self._texts[function.get(4, 0)]
        return Location(name, file, function.get(5, 0), numbers.get(2, 0))

    def _sample(self, message: bytes) -> Sample:
        fields = list(_fields(message))
        stack = [line for number in _repeated(fields, 1) for line in self._locations[number]]
        values = tuple(value - (value >> 63 << 64) for value in _repeated(fields, 2))
        labels = [self._numbers(content) for number, _, content in fields if number == 3]
        texts = [(self._texts[one.get(1, 0)], self._texts[one.get(2, 0)] or str(one.get(3, 0))) for one in labels]
        return Sample(tuple(stack), values, tuple(texts))


def _repeated(fields: Iterable[Field], wanted: int) -> Iterator[int]:
    """Give repeated numbers, which may be packed into one field."""
    for number, value, content in fields:
        if number == wanted and content:
            yield from _varints(content)
        elif number == wanted:
            yield value


def _varints(content: bytes) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = read_varint(content, at)
        yield value


def _fields(message: bytes) -> Iterator[Field]:
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        value, size = 0, {FIXED64: 8, FIXED32: 4}.get(key & 7, 0)
        if key & 7 == VARINT:
            value, at = read_varint(message, at)
        elif key & 7 == BYTES:
            size, at = read_varint(message, at)
        elif not size:
            raise ValueError(f"wire type {key & 7}")
        if at + size > len(message):
            raise ValueError("cut off")
        yield key >> 3, value, message[at : at + size]
        at += size
