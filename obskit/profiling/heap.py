"""Heap profiles, from tracemalloc: what is allocated and where from.

Switches tracemalloc on for heap profiles: opt-in, for it slows every allocation down (docs/profiler.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os.path import basename
from time import time_ns
from typing import Any

from obskit.base.pprof import Location, Profile, Sample, ValueType

_FRAMES = 8


class HeapTracing:
    """Switches tracemalloc on, and off again unless the application had switched it on itself."""

    def __init__(self) -> None:
        self._ours = False

    def start(self) -> None:
        """Trace allocations from now on."""
        import tracemalloc

        if not tracemalloc.is_tracing():
            tracemalloc.start(_FRAMES)
            self._ours = True

    def stop(self) -> None:
        """Trace no more, where this began it."""
        if self._ours:
            import tracemalloc

            tracemalloc.stop()
            self._ours = False


_MOST = 50_000  # allocations; each takes us some 10 us
_BIG = 65_536  # bytes
_REST_EVERY = 200
_TYPES = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))


def heap_profile(rest: Callable[[], object]) -> Profile:
    """Return what is allocated now. tracemalloc knows files and lines but no functions: those bear the file's name.

    While it traces, what this function allocates is slow, too: so where there are very many small allocations, a part
    of them stands for all. ``rest`` is called now and then, to let others go on.
    """
    import tracemalloc

    began = time_ns()
    traces = tracemalloc.take_snapshot().traces._traces if tracemalloc.is_tracing() else ()  # type: ignore[attr-defined]
    weight = 1 + len(traces) // _MOST
    totals: dict[int, list[Any]] = {}
    _add((trace for trace in traces if trace[1] >= _BIG), 1, totals, rest)
    _add((trace for trace in traces[::weight] if trace[1] < _BIG), weight, totals, rest)
    samples = [Sample(tuple(map(_location, frames)), (count, size)) for frames, count, size in totals.values()]
    return Profile(_TYPES, samples, _TYPES[1], 1, began, time_ns() - began)


def _add(traces: Iterable[Any], weight: int, totals: dict[int, list[Any]], rest: Callable[[], object]) -> None:
    for number, (_, size, frames, _) in enumerate(traces):
        total = totals.get(id(frames))  # tracemalloc gives equal tracebacks as one object
        if total is None:
            total = totals[id(frames)] = [frames, 0, 0]
        total[1] += weight
        total[2] += weight * size
        if number % _REST_EVERY == 0:
            rest()


def _location(frame: tuple[str, int]) -> Location:
    file, line = frame
    return Location(basename(file), file, 0, line)
