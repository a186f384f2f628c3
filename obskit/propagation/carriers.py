"""Reads and writes headers in what programs keep them in: mappings and lists of pairs, in text or bytes."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Protocol

from opentelemetry.propagators.textmap import Getter, Setter

from obskit.base.failures import failed
from obskit.base.interruptions import let_through
from obskit.base.values import text
from obskit.propagation.headers import TRACE_NAMES, Fields


class Headers(Protocol):
    """A message's headers as a mapping. It may distinguish spellings; obskit compares names without regard to case."""

    def __iter__(self) -> Iterator[Any]: ...
    def __getitem__(self, name: Any, /) -> object: ...
    def __setitem__(self, name: Any, value: Any, /) -> None: ...
    def __delitem__(self, name: Any, /) -> None: ...


class Entries:
    """Headers of a library whose own class takes as long to set one as a span takes in all: written to below it."""

    def __init__(self, headers: Any) -> None:
        self.headers = headers

    def have_any(self, names: frozenset[str]) -> bool:
        """Return whether one of ``names``, which are in lower case, is there."""
        raise NotImplementedError

    def add(self, fields: Fields) -> None:
        """Add ``fields``, whose names are those of ``LOWER_CASE``, and none of which is there."""
        raise NotImplementedError

    # What is done rarely is left to the class.

    def __iter__(self) -> Iterator[Any]:
        return iter(self.headers)

    def __getitem__(self, name: Any) -> object:
        return self.headers[name]

    def __setitem__(self, name: Any, value: Any) -> None:
        self.headers[name] = value

    def __delitem__(self, name: Any) -> None:
        del self.headers[name]


class Pairs:
    """A list of ``(name, value)`` pairs as a mapping: Kafka's headers, gRPC's metadata, ASGI's headers.

    New pairs are text or bytes as the first pair is.
    """

    def __init__(self, pairs: list[Any]) -> None:
        self._pairs = pairs
        first = pairs[0] if pairs else ("", "")
        self._name_as_bytes, self._value_as_bytes = (isinstance(part, bytes) for part in first[:2])

    def __iter__(self) -> Iterator[Any]:
        return (pair[0] for pair in self._pairs)

    def __getitem__(self, name: Any) -> object:
        return next(pair[1] for pair in self._pairs if pair[0] == name)

    def __setitem__(self, name: str, value: str) -> None:
        self._pairs.append(
            (name.encode() if self._name_as_bytes else name, value.encode() if self._value_as_bytes else value)
        )

    def __delitem__(self, name: Any) -> None:
        self._pairs[:] = [pair for pair in self._pairs if pair[0] != name]


class ByName:
    """A mapping of another kind than dict, whose names only ``keys`` tells: iterating over werkzeug's yields pairs.

    Iterating over wsgiref's fails. If names are bytes, names and values are written as bytes.
    """

    def __init__(self, headers: Any, as_bytes: bool) -> None:
        self._headers = headers
        self._as_bytes = as_bytes

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._headers.keys()))

    def __getitem__(self, name: Any) -> object:
        return self._headers[name]

    def __setitem__(self, name: str, value: str) -> None:
        if self._as_bytes:
            self._headers[name.encode()] = value.encode()
        else:
            self._headers[name] = value

    def __delitem__(self, name: Any) -> None:
        del self._headers[name]


def headers_of(carrier: Any) -> Headers:
    """Return a program's mapping or list of pairs as headers that take text."""
    if isinstance(carrier, list):
        return Pairs(carrier)
    as_bytes = bytes in map(type, carrier.keys())
    headers: Headers = carrier if type(carrier) is dict and not as_bytes else ByName(carrier, as_bytes)
    return headers


def texts(carrier: Any) -> dict[str, str]:
    """Return what a program's mapping or pairs say, by lower-case name. What is neither says nothing."""
    found = {}
    for pair in carrier.items() if hasattr(carrier, "items") else carrier or ():
        if type(pair) in (tuple, list) and len(pair) == 2:
            found[lower_case(pair[0])] = _joined(pair[1])
    return found


def _joined(value: object) -> str:
    """Return a header's value; where it has a list of them, as they are joined in HTTP (RFC 9110, 5.2)."""
    if isinstance(value, list | tuple):
        return ",".join(map(_joined, value))
    return value.decode("latin-1") if isinstance(value, bytes) else text(value)


_LONGEST_NAME = 64
_MOST_NAMES = 512
_others: set[object] = set()  # names of other headers, as they are spelled: programs use few, again and again


def has_trace(headers: Headers) -> bool:
    """Return whether ``headers`` has one of a trace's, in whatever spelling."""
    others = _others
    try:
        for name in headers:
            if name not in others and _is_traces(name):
                return True
    except TypeError:  # not hashable: whoever looks closely finds out
        return True
    return False


def _is_traces(name: object) -> bool:
    if lower_case(name) in TRACE_NAMES:
        return True
    if isinstance(name, str | bytes) and len(name) <= _LONGEST_NAME:
        if len(_others) >= _MOST_NAMES:
            _others.clear()
        _others.add(name)
    return False


def lower_case(name: object) -> str:
    """Return a header's name, text or bytes, in lower case, for comparisons."""
    return (name.decode("latin-1") if isinstance(name, bytes) else str(name)).lower()


def take_out(headers: Headers, names: frozenset[str]) -> set[str]:
    """Delete ``names`` in all their spellings; return the names that are left, in lower case."""
    left = set()
    for name in list(headers):
        lower = lower_case(name)
        if lower in names:
            _delete(headers, name)
        else:
            left.add(lower)
    return left


def _delete(headers: Headers, name: object) -> None:
    try:
        del headers[name]
    except KeyError:  # gone with another spelling: this mapping ignores case
        return


def put(headers: Headers, fields: Fields) -> None:
    """Write ``fields``; if ``headers`` refuses one, the others are still written."""
    for name, value in fields:
        try:
            headers[name] = value
        except Exception:  # noqa: PERF203 - costs nothing since Python 3.11
            failed(f"writing the header {name}")


class Carrier:
    """What OpenTelemetry's setter writes to. Its names are known only if it is a mapping or a list of pairs."""

    def __init__(self, carrier: Any, setter: Setter[Any]) -> None:
        self._carrier = carrier
        self._set = setter.set
        known = isinstance(carrier, MutableMapping | list)
        self._headers: Headers = headers_of(carrier) if known else {}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._headers)

    def __getitem__(self, name: Any) -> object:
        return self._headers[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._set(self._carrier, name, value)

    def __delitem__(self, name: Any) -> None:
        del self._headers[name]


def spellings(carrier: Any, getter: Getter[Any]) -> dict[str, str]:
    """Return a carrier's names as it spells them, by their lower case; an empty dict if the getter fails."""
    try:
        return {lower_case(name): name for name in getter.keys(carrier)}
    except Exception:
        let_through()
        return {}


def get_text(carrier: Any, getter: Getter[Any], name: str) -> str | None:
    """Return a header's value; None if it is absent or the getter fails.

    A repeated header is joined as HTTP does it (RFC 9110, 5.2): conflicting contexts then read as malformed. For a
    value in bytes, OpenTelemetry's default getter returns a list of numbers.
    """
    try:
        values: list[Any] = list(getter.get(carrier, name) or ())
        if values and type(values[0]) is int:
            return bytes(values).decode("latin-1")
        return ",".join(_text(value) for value in values) if values else None
    except Exception:
        let_through()
        return None


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
