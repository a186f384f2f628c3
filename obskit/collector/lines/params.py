"""A search for lines from the parameters of a URL."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from obskit.collector.lines.line import SEVERITIES, Words, severity_of
from obskit.collector.lines.search import EVER, LineQuery, Place
from obskit.collector.periods import parse_duration, parse_moment
from obskit.collector.query import QueryError, parse_trace_id

MOST_LINES = 1_000
_is_place = re.compile(r"(\d{1,18})-(\d{1,18})").fullmatch
_is_number = re.compile(r"\d{1,18}").fullmatch


def parse_lines_query(params: Mapping[str, str]) -> LineQuery:
    """Return the lines that ``q``, ``severity``, ``service``, ``instance``, ``logger``, ``trace``, ``from``, ``to``,
    ``last``, ``before`` and ``limit`` ask for. Raises QueryError.
    """
    first, last = parse_time(params)
    return LineQuery(
        words=Words.parse(params.get("q", "")),
        severity=_severity(params.get("severity", "")),
        service=params.get("service", ""),
        instance=params.get("instance"),
        logger=params.get("logger", ""),
        trace=parse_trace(params.get("trace", "")),
        first=first,
        last=last,
        before=_place(params.get("before", "")),
        limit=whole_number("limit", params.get("limit") or "200", MOST_LINES),
    )


def parse_time(params: Mapping[str, str]) -> tuple[int, int]:
    """Return the first and the last microsecond asked for; all times by default. Raises QueryError."""
    if params.get("last", "") not in {"", "all"}:
        return max(time.time_ns() // 1_000 - parse_duration("last", params["last"]), 0), EVER
    first, last = (parse_moment(name, params.get(name, "")) for name in ("from", "to"))
    return first or 0, EVER if last is None else last


def parse_trace(text: str) -> str:
    """Return a trace id as it is stored; empty when none is asked for. Raises QueryError."""
    return parse_trace_id(text.strip().lower()) if text else ""


def whole_number(name: str, text: str, largest: int = 10**18 - 1) -> int:
    """Return a number from 0 to ``largest``. Raises QueryError."""
    if not _is_number(text) or int(text) > largest:
        raise QueryError(f"{name} is {text[:40]!r}; give a whole number up to {largest}")
    return int(text)


def place_text(place: Place | None) -> str:
    """Return what ``before`` takes to go on with a search."""
    return f"{place[0]}-{place[1]}" if place else ""


def _severity(text: str) -> int:
    number = severity_of(text or "DEFAULT")
    if number is None:
        raise QueryError(f"severity is {text[:40]!r}; give one of {', '.join(SEVERITIES)}")
    return number


def _place(text: str) -> Place | None:
    if not text:
        return None
    found = _is_place(text)
    if not found:
        raise QueryError(f"before is {text[:40]!r}; give what an answer has as its more")
    return int(found[1]), int(found[2])
