"""What a thread did that no sample saw.

A thread's CPU clock tells how much it ran since the last sample, not where. A thread that computes for some
milliseconds between two samples which both find it waiting for its next request would show that time at the wait.
So the CPU time found at waits is shared out among the stacks in which the same thread was found computing, in
proportion; where there are none, it stays where it was found. And as nobody computes for less wall time than CPU
time, wall time moves from the waits to the computing stacks where it would seem so.

A place is a wait if the thread mostly did nothing in the moment after it was found there. Where that was looked at
too seldom to tell, the rest of the line tells: CPython 3.11 shows the first calls of a line at another instruction than
the later ones, which it has specialised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from obskit.profiling.recording import Entry, SampledThread
from obskit.profiling.stacks import line_at


class Times(NamedTuple):
    """The CPU and wall time, in nanoseconds, of a thread in one stack."""

    entry: Entry
    cpu: int
    wall: int


def settle(thread: SampledThread, period: int) -> list[Times]:
    """Return the times of each stack; the sums are what the thread used, and how long it was there."""
    entries = list(thread.entries.values())
    waits = _waits(entries)
    waiting = [entry for entry in entries if _place(entry) in waits]
    computing = [entry for entry in entries if _place(entry) not in waits]
    used = sum(entry.cpu for entry in entries)
    seen = sum(entry.cpu for entry in computing)
    if not seen or not waiting:
        return [Times(entry, entry.cpu, entry.count * period) for entry in entries]
    waited = sum(entry.count for entry in waiting) * period
    missed = min(waited, max(0, used - sum(entry.count for entry in computing) * period))
    found = [
        Times(entry, entry.cpu * used // seen, entry.count * period + entry.cpu * missed // seen) for entry in computing
    ]
    left = 1 - missed / waited if waited else 1
    return found + [Times(entry, 0, int(entry.count * period * left)) for entry in waiting]


def _waits(entries: Iterable[Entry]) -> set[object]:
    """Return the places where the thread was more often still than not in the moment after it was found there."""
    balance: Counter[object] = Counter()
    lines: dict[object, object] = {}
    for entry in entries:
        place, line = _place(entry), _line(entry)
        lines[place] = line
        for where in (place, line):
            balance[where] += entry.still - entry.ran
    return {place for place, line in lines.items() if balance[place if abs(balance[place]) > 1 else line] > 1}


def _place(entry: Entry) -> object:
    """Return the innermost function and where it is in it."""
    stack = entry.stack
    return (id(stack.codes[0]), stack.offsets[0]) if stack.codes else None


def _line(entry: Entry) -> object:
    """Return the innermost function and its line."""
    stack = entry.stack
    return ("line", id(stack.codes[0]), line_at(stack.codes[0], stack.offsets[0])) if stack.codes else None
