"""Calls, errors and durations, and how they are added up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

_PER_OCTAVE = 8  # buckets: a duration is known to 9 percent
decode_buckets = msgspec.json.Decoder(dict[int, int]).decode


class Minute(NamedTuple):
    """What one minute of a service was like. ``timed`` calls had a duration; ``p95`` is theirs, in microseconds."""

    calls: int
    errors: int
    timed: int
    p95: int


@dataclass
class Numbers:
    """Calls, errors, and a histogram of durations: bucket n holds those from 2**(n/8) microseconds on."""

    calls: int = 0
    errors: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, other: Numbers) -> None:
        """Add other numbers to these."""
        self.count(other.calls, other.errors, other.buckets.items())

    def count(self, calls: int, errors: int, buckets: Iterable[tuple[int, int]]) -> None:
        """Add calls, of which so many failed and so many were in each bucket."""
        self.calls += calls
        self.errors += errors
        mine = self.buckets
        for bucket, number in buckets:
            mine[bucket] = mine.get(bucket, 0) + number

    @property
    def took(self) -> int:
        """About how many microseconds all of them took together."""
        return sum(count * duration_of(bucket + 0.5) for bucket, count in self.buckets.items())

    @property
    def minute(self) -> Minute:
        """Return them in short."""
        return Minute(self.calls, self.errors, self.buckets.total(), self.percentile(0.95) or 0)

    def percentile(self, part: float) -> int | None:
        """Return the duration (microseconds) that this part of the timed calls did not exceed; None without any."""
        wanted, seen = part * self.buckets.total(), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return duration_of(bucket + 0.5)
        return None


def bucket_of(duration: int) -> int:
    """Return the bucket of a duration in microseconds; 0 is in the first."""
    return buckets_of([duration])[0]


def buckets_of(durations: Iterable[int]) -> list[int]:
    """Return ``bucket_of`` each, without a call for each."""
    log = math.log2
    return [int(log(duration) * _PER_OCTAVE) if duration > 0 else 0 for duration in durations]


def duration_of(bucket: float) -> int:
    """Return the shortest duration, in microseconds, that a bucket holds."""
    return round(2 ** (bucket / _PER_OCTAVE))
