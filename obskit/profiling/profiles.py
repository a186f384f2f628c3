"""From what the sampler saw to profiles: one of wall time, one of CPU time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from obskit.instrumentation.server import ServerExchange
from obskit.profiling.pprof import Profile, Sample, ValueType
from obskit.profiling.recording import Entry, Recording, SampledThread
from obskit.profiling.serving import UNKNOWN, is_untold
from obskit.profiling.stacks import Location
from obskit.profiling.unseen import Times, settle

COUNT = ValueType("samples", "count")
CPU = ValueType("cpu", "nanoseconds")
WALL = ValueType("wall", "nanoseconds")

_Labels = tuple[tuple[str, str], ...]


def cpu_profile(recording: Recording) -> Profile:
    """Return where CPU time went, one sample for each period of it."""
    return _profile(recording, CPU, attrgetter("cpu"))


def wall_profile(recording: Recording) -> Profile:
    """Return where threads spent their time, running or waiting."""
    return _profile(recording, WALL, attrgetter("wall"))


def _profile(recording: Recording, value_type: ValueType, time_of: Callable[[Times], int]) -> Profile:
    """Build a profile. Stacks that differ only in instructions of the same lines are one."""
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


def _is_ours(thread: SampledThread, entry: Entry) -> bool:
    """Return whether a thread is obskit's own, which a profile of the application is not about."""
    return entry.stack.ours or thread.name.startswith("obskit-")


def _labels(thread: SampledThread, entry: Entry) -> _Labels:
    """Return the labels: the thread's name, and the route and trace id of the request, as far as they are known."""
    labels = [("thread", thread.name), *(_of_request(entry.exchange) if entry.exchange is not None else ())]
    if entry.exchange is None and not entry.stack.readers and is_untold(entry.stack.codes):
        labels.append(("http.route", UNKNOWN))
    return tuple(labels)


def _of_request(exchange: ServerExchange) -> Iterator[tuple[str, str]]:
    """Give what is known when the profile ends: many frameworks tell the route only with the response."""
    if exchange.route:
        yield "http.route", exchange.route
    if exchange.span.trace_id:
        yield "trace_id", exchange.span.trace_id
