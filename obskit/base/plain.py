"""Converts any value of the application to plain JSON types, with secrets masked; never raises, in bounded work.

Any operation on a value may run the application's code: a proxy loads its target when its class is read. So decisions
are made by ``type(value)``, which runs no code, and the rest is done inside a guard that loses only one value if it
raises. Objects are traversed here rather than printed by themselves, which would be unbounded. The nodes and characters
of all values of a record are limited together.
"""

from __future__ import annotations

import math
from collections import UserString
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from enum import Enum
from itertools import islice
from types import FunctionType, SimpleNamespace
from typing import Any

from obskit.base.interruptions import let_through
from obskit.base.named_values import MASK
from obskit.base.redaction import Redactor

MAX_DEPTH = 16
MAX_ITEMS = 1_000
MAX_NODES = 10_000
MAX_CHARACTERS = 300_000
TRUNCATED = "...[truncated]"
_SHORT = 200
_WORD = 256
_BIGGEST = 1023
_MOST_DIGITS = 16_384
_SCALARS = frozenset([str, int, float, bool, type(None)])


class Renderer:
    """Converts the values of one record; ``truncated`` tells whether anything was left out because of its size."""

    truncated = False
    _nodes = MAX_NODES
    _characters = MAX_CHARACTERS

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor
        self._path: set[int] = set()

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return ``value`` in JSON's own types. Never raises."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value
        try:
            return _number(value) if kind is int or kind is float else self._walk(value, kind, depth)
        except Exception:
            let_through()
            return _unprintable(kind)

    def under(self, key: str, value: Any, depth: int = 0) -> Any:
        """Return ``value``, masked if ``key`` is a secret's name."""
        if self._redactor is not None and self._redactor.hides(key, value):
            return MASK
        return self.plain(value, depth)

    def text(self, text: str) -> str:
        """Return a text with secrets masked, and with lone surrogates, which UTF-8 cannot encode, replaced by ``?``."""
        if len(text) > _SHORT:  # short ones are bounded by their number
            text = self._bounded(text)
        if self._redactor is not None:
            text = self._redactor.text(text)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    def _bounded(self, text: str) -> str:
        limit = max(self._characters, _SHORT)
        if len(text) > limit:
            text = whole_words(text, limit - len(TRUNCATED)) + TRUNCATED
            self.truncated = True
        self._characters -= len(text)
        return text

    def as_text(self, value: Any) -> str:
        """Return a value, a mapping's key for instance, as text. Never raises."""
        if type(value) is str:
            return self.text(value)
        if type(value) is tuple and all(type(one) in _SCALARS for one in value):
            return self.text(str(tuple(map(_number, value))))
        shown = self.plain(value, MAX_DEPTH - 1)
        return shown if type(shown) is str else str(shown)

    def items(self, value: Any) -> list[tuple[Any, Any]]:
        """Return the items of a mapping of fields, unconverted. Never raises."""
        try:
            return [(key, item) for key, item in islice(value.items(), MAX_NODES)]
        except Exception:
            let_through()
            return [("unprintable", type(value).__name__)]

    def _walk(self, value: Any, kind: type, depth: int) -> Any:
        """Convert a container; cycles and deep nesting are cut."""
        if id(value) in self._path:
            return "...[circular]"
        if depth >= MAX_DEPTH:
            self.truncated = True
            return f"...[deeper than {MAX_DEPTH}]"
        self._path.add(id(value))
        try:
            if kind is dict:
                return self._pairs(value.items(), depth)
            for base, render in _RENDERERS:
                if issubclass(kind, base):
                    return render(self, value, depth)
            return self._object(value, kind, depth)
        finally:
            self._path.discard(id(value))

    def _object(self, value: Any, kind: type, depth: int) -> Any:
        """Convert an object by its declared fields, as an array, as a proxy's target, or else as text."""
        names = _field_names(kind)
        if names is not None:
            return self._fields(value, names, depth)
        if hasattr(kind, "ndim") and (hasattr(kind, "item") or hasattr(kind, "items")):
            return self._array(value, kind, depth)
        stands_for = _class_of(value)
        if stands_for is not kind:
            return self._proxy(value, stands_for, depth)
        return self._printed(value, depth)

    def _proxy(self, value: Any, stands_for: Any, depth: int) -> Any:
        """Convert a proxy (Django's lazy objects, werkzeug's locals, wrapt's) by its target."""
        if stands_for is type(None):
            return None
        try:
            if stands_for in _SCALARS:
                return self.plain(stands_for(value), depth)
            if issubclass(stands_for, Mapping):
                return self._mapping(value, depth)
            if issubclass(stands_for, list | tuple | set | frozenset):
                return self._sequence(value, depth)
        except Exception:  # a mock claims another class, without its attributes
            let_through()
            return self._printed(value, depth)
        names = _field_names(stands_for)
        return self._printed(value, depth) if names is None else self._fields(value, names, depth)

    def _mapping(self, value: Any, depth: int) -> dict[str, Any]:
        try:
            return self._pairs(value.items(), depth)
        except Exception:
            let_through()
            if issubclass(type(value), Mapping):
                return {"unprintable": type(value).__name__}
            raise

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        """Convert names and values; names that are equal as text get an underscore."""
        shown: dict[str, Any] = {}
        taken, more = self._take(pairs)
        for key, item in taken:
            known = type(key) is str
            name = key if known and len(key) < _SHORT and key.isidentifier() else self.as_text(key)
            if name in shown:
                name = _another(name, shown)
            shown[name] = self.under(key if known else name, item, depth + 1)
        if more:
            shown["..."] = TRUNCATED
        if "value" in shown:
            self._hide_named(shown, "value", shown.get("name", shown.get("key")))
        elif "Value" in shown:
            self._hide_named(shown, "Value", shown.get("Name", shown.get("Key")))
        return shown

    def _hide_named(self, shown: dict[str, Any], field: str, name: Any) -> None:
        """Mask the value of ``{"name": "Authorization", "value": "x"}``."""
        if type(name) is str:
            shown[field] = self._hidden(name, shown[field])

    def _hidden(self, name: str, value: Any) -> Any:
        return MASK if self._redactor is not None and self._redactor.hides(name, value) else value

    def _sequence(self, value: Any, depth: int) -> Any:
        if hasattr(type(value), "geturl"):  # urllib's, whose parts would hide that there is a password
            return self.text(str(value.geturl()))
        if hasattr(type(value), "_asdict"):  # a namedtuple, or a row of a database
            return self._pairs(value._asdict().items(), depth)
        try:
            taken, more = self._take(value)
        except Exception:
            let_through()
            return [_unprintable(type(value))]
        shown = [self.plain(item, depth + 1) for item in taken]
        if len(shown) == 2 and type(taken[0]) in (str, bytes):  # a header
            shown[1] = self._hidden(shown[0], shown[1])
        elif self._redactor is not None:
            self._hide_options(shown)
        return [*shown, TRUNCATED] if more else shown

    def _hide_options(self, shown: list[Any]) -> None:
        """Mask what follows ``--password`` in a command."""
        for at in range(1, len(shown)):
            before = shown[at - 1]
            if type(before) is str and before[:2] == "--" and "=" not in before:
                shown[at] = self._hidden(before, shown[at])

    def _take(self, values: Iterable[Any]) -> tuple[list[Any], bool]:
        """Return as many items as the record's bounds still allow, and whether there are more."""
        most = MAX_ITEMS if self._nodes > MAX_ITEMS else max(self._nodes, 0)
        taken = list(islice(values, most + 1))
        self._nodes -= len(taken)
        if len(taken) <= most:
            return taken, False
        self.truncated = True
        return taken[:most], True

    def _fields(self, value: Any, names: Sequence[str], depth: int) -> Any:
        return self._pairs(((name, _attribute(value, name)) for name in names), depth)

    def _namespace(self, value: Any, depth: int) -> dict[str, Any]:
        return self._pairs(vars(value).items(), depth)

    def _array(self, value: Any, kind: type, depth: int) -> Any:
        """Render numpy's scalars and arrays and whatever is like them, such as tensors and pandas' columns."""
        if kind.__name__ in ("datetime64", "timedelta64"):
            text = str(value)
            return f"{text}Z" if "T" in text and ":" in text else text  # numpy counts from an epoch in UTC
        if value.ndim == 0:
            item = value.item()
            return self.plain(item, depth + 1) if type(item) is not kind else self._printed(value, depth)
        if hasattr(kind, "items"):
            return self._pairs(value.items(), depth)
        taken, more = self._take(value)
        shown = [self.plain(item, depth + 1) for item in taken]
        return [*shown, TRUNCATED] if more else shown

    def _enumeration(self, value: Any, depth: int) -> Any:
        return self.plain(value.value, depth + 1)

    def _printed(self, value: Any, _depth: int) -> str:
        return self.text(str.__str__(str(value)))  # of a subclass, which no encoder takes, the plain text

    def _bytes(self, value: Any, _depth: int) -> str:
        data = memoryview(value)[: MAX_CHARACTERS + 1].tobytes()
        return self.text(data.decode("utf-8", "backslashreplace"))

    def _int(self, value: Any, _depth: int) -> Any:
        return _number(int.__int__(value))

    def _float(self, value: Any, _depth: int) -> Any:
        return _number(float.__float__(value))

    def _time(self, value: Any, _depth: int) -> str:
        text: str = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else self.text(text)

    def _duration(self, value: timedelta, depth: int) -> str:
        """Render a duration as ISO 8601 does, in days and seconds."""
        if type(value) is not timedelta:
            return self._printed(value, depth)
        sign, span = ("-", -value) if value.days < 0 else ("", value)
        seconds = f"{span.seconds}.{span.microseconds:06d}".rstrip("0").rstrip(".")
        return f"{sign}P{f'{span.days}D' if span.days else ''}T{seconds}S"

    def _error(self, value: BaseException, depth: int) -> Any:
        """Render an exception's text. An argument that is no plain value is not left to print all of itself."""
        kind = type(value)
        if type(kind.__str__) is FunctionType or not holds_others(value):
            return self._printed(value, depth) or kind.__name__
        arguments = _arguments(value)
        shown = self.plain(arguments[0] if len(arguments) == 1 else arguments, depth + 1)
        return shown if type(shown) is str else self.text(str(shown))


def plain(value: Any) -> Any:
    """Return a value that was rendered before, whole, as what UTF-8 and msgspec can hold."""
    if type(value) is str:
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    return list(map(plain, value)) if type(value) is list else _number(value)


_Render = Callable[[Renderer, Any, int], Any]
_RENDERERS: tuple[tuple[Any, _Render], ...] = (
    (dict, Renderer._mapping),  # a subclass; most dicts are none
    (list, Renderer._sequence),
    (Enum, Renderer._enumeration),
    ((str, UserString), Renderer._printed),
    (int, Renderer._int),
    (float, Renderer._float),
    ((bytes, bytearray, memoryview), Renderer._bytes),
    ((datetime, date, time), Renderer._time),
    (timedelta, Renderer._duration),
    (BaseException, Renderer._error),
    (SimpleNamespace, Renderer._namespace),
    (Mapping, Renderer._mapping),
    ((Sequence, Set, ValuesView), Renderer._sequence),
)
"""The function of the first class that fits renders a value."""


def _number(number: Any) -> Any:
    """Return a number if JSON and its readers can hold it, else its text."""
    if type(number) is float:
        return number if math.isfinite(number) else str(number)
    if type(number) is not int:
        return number
    if number.bit_length() <= _BIGGEST:
        return number
    try:
        return str(number)
    except ValueError:  # more digits than Python writes
        return hex(number)[:_MOST_DIGITS]


def _another(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except Exception as error:
        let_through()
        return f"<unprintable {type(error).__name__}>"


def _class_of(value: Any) -> Any:
    """Return the class that a value says it has: for a proxy, that of what it stands for. It may have to load it."""
    return value.__class__


def _field_names(kind: type) -> list[str] | None:
    """Return the fields of dataclasses and of attrs', pydantic's and msgspec's classes that their own repr shows."""
    declared = getattr(kind, "__dataclass_fields__", None)
    if type(declared) is dict:
        return [name for name, field in declared.items() if field.repr and field._field_type.name == "_FIELD"]
    declared = getattr(kind, "__attrs_attrs__", None)
    if isinstance(declared, tuple):
        return [field.name for field in declared if field.repr]
    declared = getattr(kind, "__pydantic_fields__", None)
    if type(declared) is dict:
        return [name for name, field in declared.items() if getattr(field, "repr", True)]
    declared = getattr(kind, "__struct_fields__", None)
    return list(declared) if type(declared) is tuple else None


def holds_others(value: object) -> bool:
    """Return whether printing an object prints others, along every path that leads to them."""
    kind = type(value)
    if issubclass(kind, BaseException):
        return not all(type(one) in _SCALARS for one in _arguments(value))
    return issubclass(kind, SimpleNamespace) or _field_names(kind) is not None


def _arguments(error: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = BaseException.args.__get__(error)  # type: ignore[attr-defined]
    return found


def whole_words(text: str, limit: int) -> str:
    """Return the beginning of a text that is too long. A word that would be cut, a password perhaps, is left out."""
    blank = max(text.rfind(" ", limit - _WORD, limit), text.rfind("\n", limit - _WORD, limit))
    return text[: blank if blank > 0 else limit]


def _unprintable(kind: type) -> str:
    try:
        return f"<unprintable {kind.__name__}>"
    except Exception:
        let_through()
        return "<unprintable>"
