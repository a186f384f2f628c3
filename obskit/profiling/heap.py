"""Heap profiles, from tracemalloc: what is allocated and where from."""

from __future__ import annotations

from collections.abc import Callable
from os.path import basename
from time import time_ns
from typing import Any

from obskit.profiling.pprof import Profile, Sample, ValueType
from obskit.profiling.stacks import Location

_REST_EVERY = 2000  # allocations
_TYPES = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))


def heap_profile(rest: Callable[[], object]) -> Profile:
    """Return what is allocated now. tracemalloc knows files and lines but no functions: those bear the file's name."""
    import tracemalloc

    began = time_ns()
    totals: dict[int, list[Any]] = {}
    traces = tracemalloc.take_snapshot().traces._traces if tracemalloc.is_tracing() else ()  # type: ignore[attr-defined]
    for number, trace in enumerate(traces):
        total = totals.get(id(trace[2]))  # tracemalloc gives equal tracebacks as one object
        if total is None:
            total = totals[id(trace[2])] = [trace[2], 0, 0]
        total[1] += 1
        total[2] += trace[1]
        if number % _REST_EVERY == 0:
            rest()
    samples = [Sample(tuple(map(_location, frames)), (count, size)) for frames, count, size in totals.values()]
    return Profile(_TYPES, samples, _TYPES[1], 1, began, time_ns() - began)


def _location(frame: tuple[str, int]) -> Location:
    file, line = frame
    return Location(basename(file), file, 0, line)
