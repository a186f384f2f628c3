"""Incidents, derived from what is stored by rules that stand here: nobody has to define any.

A minute is bad when five requests or more and over 5 % of them failed, or when its 95th percentile is over twice what
is usual: the median of the hour before. A service that others call is silent when five minutes pass without a request
after it had been busy. Bad minutes with gaps of up to two between them are one incident.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from obskit.collector.kubernetes.health import WELL_AGAIN
from obskit.collector.kubernetes.store import Change
from obskit.collector.lines.line import Line
from obskit.collector.store.health_numbers import Minute, Numbers

FEWEST_ERRORS, ERROR_SHARE = 5, 0.05
FEWEST_CALLS, TIMES_USUAL = 20, 2.0  # of a minute whose percentile counts, and how much more than usual is slow
SILENT_MINUTES = 5
_HOUR = 60  # minutes
_FEWEST_USUAL = 10  # minutes that tell what is usual
_BUSY, _BUSY_OF = 10, 15  # minutes with requests, of those before the silence
_GAP = 2  # minutes
_MINUTE = 60_000_000  # microseconds

ByMinute = Mapping[int, Minute]
"""What a service was like by the minute (microseconds divided by 60 million)."""


@dataclass(frozen=True)
class Incident:
    """Something that was wrong with ``subject``: a service, or a pod or workload as ``namespace/name``.

    ``kind`` is ``errors``, ``slow``, ``silent``, ``critical lines`` or ``kubernetes``. Times are epoch microseconds,
    the end of the last bad minute included; ``worst`` says in words how bad it was.
    """

    subject: str
    kind: str
    first: int
    last: int
    worst: str


def of_service(service: str, minutes: ByMinute, until: int, *, called: bool) -> list[Incident]:
    """Return the incidents of one service. ``until`` is the first minute that is not over; ``called`` by others."""
    shares = {minute: one.errors / one.calls for minute, one in minutes.items() if fails(one)}
    found = _joined(service, "errors", shares, "{:.0%} failed")
    found += _joined(service, "slow", _slow(minutes), "p95 {:.1f} times that of the hour before")
    return found + (_silences(service, sorted(minutes), until) if called else [])


def of_lines(lines: Iterable[Line]) -> list[Incident]:
    """Return an incident for each time in which a service wrote lines of severity CRITICAL or worse."""
    counts: dict[str, dict[int, float]] = {}
    for line in lines:
        minutes = counts.setdefault(line.service, {})
        minutes[line.time // _MINUTE] = minutes.get(line.time // _MINUTE, 0) + 1
    return [
        one
        for service, minutes in counts.items()
        for one in _joined(service, "critical lines", minutes, "up to {:.0f} in a minute")
    ]


def of_changes(changes: Sequence[Change], now: int) -> list[Incident]:
    """Return an incident from each trouble of a pod or workload to when it was well again; ``changes`` newest first."""
    found = []
    ends: dict[tuple[str, ...], int] = {}
    for change in changes:
        key = (change.cluster, change.kind, change.namespace, change.name)
        if change.what == WELL_AGAIN:
            ends[key] = change.at * 1_000_000
            continue
        restarted = change.what.startswith("restarted")
        end = change.at * 1_000_000 if restarted else ends.get(key, now)
        subject = f"{change.namespace}/{change.name}"
        found.append(Incident(subject, "kubernetes", change.at * 1_000_000, end, change.what))
    return found


def fails(numbers: Numbers | Minute) -> bool:
    """Return True where enough requests failed, and a large enough part of them."""
    return numbers.errors >= FEWEST_ERRORS and numbers.errors > ERROR_SHARE * numbers.calls


def _slow(minutes: ByMinute) -> dict[int, float]:
    """Return how many times the usual 95th percentile each slow minute has."""
    percentiles = [(minute, one.p95) for minute, one in sorted(minutes.items()) if one.timed >= FEWEST_CALLS]
    found = {}
    before: deque[tuple[int, int]] = deque()
    ordered: list[int] = []  # the percentiles of these
    for minute, percentile in percentiles:
        while before and before[0][0] < minute - _HOUR:
            del ordered[bisect_left(ordered, before.popleft()[1])]
        if len(ordered) >= _FEWEST_USUAL and percentile > TIMES_USUAL * (usual := _median(ordered)):
            found[minute] = percentile / usual
        before.append((minute, percentile))
        insort(ordered, percentile)
    return found


def _median(ordered: Sequence[int]) -> float:
    """Return the same as ``statistics.median``, of numbers that are in order already."""
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _silences(service: str, minutes: Sequence[int], until: int) -> list[Incident]:
    found = []
    known = set(minutes)
    for minute, following in zip(minutes, [*minutes[1:], until], strict=True):
        silent = following - minute - 1
        if silent < SILENT_MINUTES:
            continue
        if sum(one in known for one in range(minute - _BUSY_OF + 1, minute + 1)) >= _BUSY:
            worst = f"no request for {silent} min"
            found.append(Incident(service, "silent", (minute + 1) * _MINUTE, following * _MINUTE, worst))
    return found


def _joined(subject: str, kind: str, bad: Mapping[int, float], text: str) -> list[Incident]:
    """Return incidents of bad minutes, each with how bad it was."""
    groups: list[list[int]] = []
    for minute in sorted(bad):
        if groups and minute - groups[-1][-1] <= _GAP + 1:
            groups[-1].append(minute)
        else:
            groups.append([minute])
    return [
        Incident(subject, kind, group[0] * _MINUTE, (group[-1] + 1) * _MINUTE, text.format(max(bad[m] for m in group)))
        for group in groups
    ]
