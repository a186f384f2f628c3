"""How the pages show durations, moments, services and errors."""

from __future__ import annotations

from datetime import datetime, timezone
from zlib import crc32

from obskit.collector.markup import Html, render
from obskit.collector.style import HUES
from obskit.zipkin.model import Span

_MILLISECOND = 1_000
_SECOND = 1_000_000
_ERROR = '<span class="error">error</span>'


def duration(microseconds: int | None) -> str:
    """``12µs``, ``3.456ms``, ``7.890s``; a dash when it is not known."""
    if not microseconds:
        return "-"
    if microseconds < _MILLISECOND:
        return f"{microseconds}µs"
    if microseconds < _SECOND:
        return f"{microseconds / _MILLISECOND:.3f}ms"
    return f"{microseconds / _SECOND:.3f}s"


def moment(microseconds: int) -> str:
    """Epoch microseconds as UTC to the millisecond; a dash when it is not known, the number when it is absurd."""
    if not microseconds:
        return "-"
    try:
        at = datetime.fromtimestamp(microseconds / _SECOND, timezone.utc)
    except (OverflowError, OSError, ValueError):  # a span may carry any 64-bit number
        return f"{microseconds}µs"
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def colour(service: str) -> str:
    """The class that colours a service, the same on every page."""
    return f"c{crc32(service.encode('utf-8', 'replace')) % len(HUES)}"


def badge(service: str, count: int = 1) -> Html:
    """A service, with how many spans it has when there are several."""
    text = service if count == 1 else f"{service} x{count}"
    return render('<span class="tag {colour}">{text}</span>', colour=colour(service), text=text)


def error_mark(failed: bool) -> Html:
    """The mark of a failed span or trace."""
    return Html(_ERROR) if failed else Html("")


def failed(span: Span) -> bool:
    """True when the span has an ``error`` tag, even an empty one."""
    return "error" in span.tags
