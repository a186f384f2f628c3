"""Heap profiles, from tracemalloc: what is allocated and where from."""

from __future__ import annotations

from collections.abc import Callable
from os.path import basename
from time import time_ns
from typing import Any

from obskit.profiling.pprof import Profile, Sample, ValueType
from obskit.profiling.stacks import Location

_TYPES = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))


def heap_profile(rest: Callable[[], object]) -> Profile:
    """Return what is allocated now. tracemalloc knows files and lines but no functions: those bear the file's name."""
    import tracemalloc

    began = time_ns()
    totals: dict[Any, list[int]] = {}
    traces = tracemalloc.take_snapshot().traces._traces if tracemalloc.is_tracing() else ()  # type: ignore[attr-defined]
    for number, (_, size, frames, *_more) in enumerate(traces):
        total = totals.setdefault(frames, [0, 0])
        total[0] += 1
        total[1] += size
        if number % 2000 == 0:
            rest()
    samples = [Sample(tuple(map(_location, frames)), (count, size)) for frames, (count, size) in totals.items()]
    return Profile(_TYPES, samples, _TYPES[1], 1, began, time_ns() - began)


def _location(frame: tuple[str, int]) -> Location:
    file, line = frame
    return Location(basename(file), file, 0, line)
