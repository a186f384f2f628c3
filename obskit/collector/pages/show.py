"""Formats durations, times, numbers and errors for the pages."""

from __future__ import annotations

from datetime import datetime, timezone

from obskit.collector.pages.markup import Html, render
from obskit.zipkin.model import Span

_SECOND = 1_000_000  # microseconds
_UNITS = ((1_000, 1, "µs"), (_SECOND, 1_000, "ms"), (60 * _SECOND, _SECOND, "s"))  # below, divided by, unit
_ERROR = Html('<span class="error">error</span>')
_MOMENT = '<time datetime="{iso}Z"><span class="date">{date} </span>{time}</time>'


def duration(microseconds: int | None) -> str:
    """Return ``12 µs``, ``3.46 ms``, ``789 ms``, ``2 min 5 s``: three digits; a dash if it is unknown."""
    if not microseconds:
        return "-"
    for below, divisor, unit in _UNITS:
        if microseconds < below:
            return f"{_three_digits(microseconds / divisor)} {unit}"
    minutes, seconds = divmod(microseconds // _SECOND, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def moment(microseconds: int | None) -> Html:
    """Return epoch microseconds as UTC to the millisecond; a script may turn it into local time.

    Return a dash if it is unknown, the number itself if it is beyond the calendar.
    """
    if not microseconds:
        return Html("-")
    try:
        at = datetime.fromtimestamp(microseconds / _SECOND, timezone.utc)
    except (OverflowError, OSError, ValueError):  # a span may carry any 64-bit number
        return Html(f"{int(microseconds)} µs")
    time = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
    return render(_MOMENT, iso=f"{at:%Y-%m-%d}T{time}", date=f"{at:%Y-%m-%d}", time=time)


def count(number: int, singular: str, plural: str = "") -> str:
    """Return ``1 span``, ``1,234 spans``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def error_mark(failed: bool) -> Html:
    """Return the error mark of a failed span or trace."""
    return _ERROR if failed else Html("")


def failed(span: Span) -> bool:
    """Return whether the span has an ``error`` tag, even an empty one."""
    return "error" in span.tags


def _three_digits(number: float) -> str:
    whole = len(str(int(number)))
    text = f"{number:.{max(3 - whole, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
