"""Reads times and durations in forms and addresses: ``15m``, ``100ms``, ``2026-11-26 14:02``."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from obskit.collector.intake.log_entries import moment_of
from obskit.collector.query import QueryError

_UNITS = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "min": 60_000_000, "h": 3_600_000_000}
_UNITS |= {"d": 24 * _UNITS["h"], "w": 7 * 24 * _UNITS["h"]}
_quantity = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s*([a-zµ]+)").fullmatch
_LARGEST = 2**62
_FORM = "%Y-%m-%d %H:%M:%S"
LASTS = ("15m", "1h", "6h", "1d", "7d", "all")  # the choices of forms


@dataclass(frozen=True)
class Period:
    """A window of time in epoch microseconds. ``last`` is the text, such as ``15m``, of one that ends now."""

    first: int
    end: int
    last: str = ""

    @property
    def length(self) -> int:
        """Return the length in microseconds."""
        return max(self.end - self.first, 1)


def parse_period(params: Mapping[str, str], default: str = "1h") -> Period:
    """Return the window from ``from`` to ``to``, or of length ``last`` until now. Raises QueryError."""
    now = time.time_ns() // 1_000
    begin, end = (parse_moment(name, params.get(name, "")) for name in ("from", "to"))
    last = params.get("last", "")
    if begin is not None or end is not None:
        end = now if end is None else end
        begin = max(end - parse_duration("last", last or default), 0) if begin is None else begin
        if begin >= end:
            raise QueryError("from is not before to; exchange them")
        return Period(begin, end)
    last = last or default
    return Period(0 if last == "all" else max(now - parse_duration("last", last), 0), now, last)


def parse_duration(name: str, text: str) -> int:
    """Return a duration in microseconds. Raises QueryError, which names the parameter."""
    found = _quantity(text.strip().lower())
    if not found or found[2] not in _UNITS:
        raise QueryError(f"{name} is {text[:40]!r}; give a number with a unit, such as 100ms, 1.5s, 15m, 1h")
    return min(round(float(found[1]) * _UNITS[found[2]]), _LARGEST)


def parse_moment(name: str, text: str) -> int | None:
    """Return epoch microseconds from epoch milliseconds or an ISO date and time (UTC); None for an empty text."""
    text = text.strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 20:
        return min(int(text) * 1_000, _LARGEST)
    if found := moment_of(text):  # with offsets and fractions that Python 3.10 does not read
        return found
    try:
        at = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        raise QueryError(f"{name} is {text[:40]!r}; give epoch milliseconds or, in UTC, 2026-11-26 14:02") from None
    return max(round(at.replace(tzinfo=at.tzinfo or timezone.utc).timestamp() * 1_000_000), 0)


def written(milliseconds: int) -> str:
    """Return a time in the form that ``parse_moment`` reads; as a number if it is beyond the calendar."""
    try:
        at = datetime.fromtimestamp(milliseconds // 1_000, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)
    rest = milliseconds % 1_000
    return at.strftime(_FORM) + (f".{rest:03d}" if rest else "")
