"""Takes profiles: samples, and computes profiles of CPU and wall time from the samples. Imported for the first one.

CPU time between samples: a thread's CPU clock tells how much it ran since the last sample, but not where. A thread that
computes for some milliseconds between two samples, both of which find it waiting for a request, would show that time at
the wait. So CPU time found at waits is distributed over the stacks in which the same thread was found computing, in
proportion; without any it stays where it was found. Wall time is moved likewise where a stack would otherwise have
less wall time than CPU time.

A location is a wait if the thread was mostly idle in the moment after it was found there. If there were too few such
checks, those of the whole line decide: CPython 3.11 and later show the first calls of a line at another instruction
than later ones, which are specialised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from obskit.base.pprof import Location, Profile, Sample, ValueType, encode
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.profiling.heap import heap_profile
from obskit.profiling.outputs import Assignment, Stop
from obskit.profiling.request_finder import UNKNOWN, may_serve_unknown
from obskit.profiling.sampler import Sampler
from obskit.profiling.stacks import Recording, SampledThread, StackSamples, line_at
from obskit.profiling.threads import Identities


class Times(NamedTuple):
    """The CPU and wall time of a thread in one stack, in nanoseconds."""

    entry: StackSamples
    cpu: int
    wall: int


def settle(thread: SampledThread, period: int) -> list[Times]:
    """Return the times of each stack. Their sums are the thread's CPU time, and how long it existed."""
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


def _waits(entries: Iterable[StackSamples]) -> set[object]:
    """Return the locations where the thread was mostly idle in the moment after it was found there."""
    balance: Counter[object] = Counter()
    lines: dict[object, object] = {}
    for entry in entries:
        place, line = _place(entry), _line(entry)
        lines[place] = line
        for where in (place, line):
            balance[where] += entry.still - entry.ran
    return {place for place, line in lines.items() if balance[place if abs(balance[place]) > 1 else line] > 1}


def _place(entry: StackSamples) -> object:
    """Return the innermost function and the instruction in it."""
    stack = entry.stack
    return (id(stack.codes[0]), stack.offsets[0]) if stack.codes else None


def _line(entry: StackSamples) -> object:
    """Return the innermost function and its line."""
    stack = entry.stack
    return ("line", id(stack.codes[0]), line_at(stack.codes[0], stack.offsets[0])) if stack.codes else None


COUNT = ValueType("samples", "count")
CPU = ValueType("cpu", "nanoseconds")
WALL = ValueType("wall", "nanoseconds")

_Labels = tuple[tuple[str, str], ...]


def cpu_profile(recording: Recording) -> Profile:
    """Return the profile of CPU time, with a count of one for each sampling period of it."""
    return _profile(recording, CPU, attrgetter("cpu"))


def wall_profile(recording: Recording) -> Profile:
    """Return the profile of wall time, running or waiting."""
    return _profile(recording, WALL, attrgetter("wall"))


def _profile(recording: Recording, value_type: ValueType, time_of: Callable[[Times], int]) -> Profile:
    """Build a profile. Stacks that differ only in instructions of the same lines are merged."""
    totals: dict[tuple[tuple[Location, ...], _Labels], int] = {}
    period = recording.period_ns
    for thread in recording.threads:
        for times in settle(thread, period):
            if (time := time_of(times)) and not _is_ours(thread, times.entry):
                key = (recording.stacks.locations(times.entry.stack), _labels(thread, times.entry))
                totals[key] = totals.get(key, 0) + time
    samples = [Sample(stack, (round(time / period), time), labels) for (stack, labels), time in totals.items()]
    duration = recording.periods * period
    return Profile((COUNT, value_type), samples, value_type, period, recording.time_ns, duration)


def _is_ours(thread: SampledThread, entry: StackSamples) -> bool:
    """Return whether a thread is obskit's own, which is left out of profiles."""
    return entry.stack.ours or thread.name.startswith("obskit-")


def _labels(thread: SampledThread, entry: StackSamples) -> _Labels:
    """Return the labels: the thread's name, and route and trace id of the request, as far as known."""
    labels = [("thread", thread.name), *(_of_request(entry.exchange) if entry.exchange is not None else ())]
    if entry.exchange is None and not entry.stack.readers and may_serve_unknown(entry.stack.codes):
        labels.append(("http.route", UNKNOWN))
    return tuple(labels)


def _of_request(exchange: ServerExchange) -> Iterator[tuple[str, str]]:
    """Yield the labels of a request. Read at the profile's end, as many frameworks know the route only then."""
    if exchange.route:
        yield "http.route", exchange.route
    if exchange.span.trace_id:
        yield "trace_id", exchange.span.trace_id


_BUILD: dict[str, Callable[[Recording], Profile]] = {"CPU": cpu_profile, "WALL": wall_profile}


class Taken:
    """The samples for an assignment; a profile of each of its types is computed on demand.

    ``rest`` is called now and then meanwhile, to let other threads run.
    """

    def __init__(
        self, assignment: Assignment, hz: float, identities: Identities, stop: Stop, rest: Callable[[], object]
    ) -> None:
        """Sample for the assignment's duration, or until ``stop`` is set."""
        self._rest = rest
        self._recording = Sampler(hz, identities).run(assignment.duration, stop)
        self.samples = self._recording.samples

    def profile(self, profile_type: str) -> bytes:
        """Return a profile as the contents of a ``.pprof.gz`` file."""
        build = _BUILD.get(profile_type)
        profile = heap_profile(self._rest) if build is None else build(self._recording)
        return encode(profile, self._rest)
