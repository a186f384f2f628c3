"""What a profile is compared with: an earlier time, or another version."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from obskit.collector.lines.params import parse_time
from obskit.collector.lines.search import EVER
from obskit.collector.query import QueryError

_VERSION = "version:"


@dataclass(frozen=True)
class Base:
    """The time (microseconds) and the version of the samples before, and how that is said."""

    first: int
    last: int
    version: str
    said: str

    @property
    def earlier(self) -> bool:
        """True for another time, False for another version."""
        return not self.version


def parse_base(params: Mapping[str, str], first: int, last: int) -> Base | None:
    """Return what ``base`` asks for: ``1d`` is the time from ``first`` to ``last`` one day earlier. Raises QueryError.

    Where there is no first moment, ``1d`` is the day before the last day. ``version:1.4.1`` is at any time.
    """
    text = params.get("base", "")
    if not text:
        return None
    if text.startswith(_VERSION):
        version = text[len(_VERSION) :]
        return Base(0, EVER, version, f"of version {version}")
    now = time.time_ns() // 1_000
    try:
        shift = now - parse_time({"last": text})[0]
    except QueryError:
        raise QueryError(f"base is {text[:40]!r}; give a time such as 1h or 1d, or a version: version:1.4.1") from None
    end = min(last, now)
    begin = first or end - shift
    return Base(max(begin - shift, 0), end - shift, params.get("version", ""), f"{text} earlier")
