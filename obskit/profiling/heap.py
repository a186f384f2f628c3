"""Heap profiles from tracemalloc: how much is allocated, and where.

They are opt-in, as tracemalloc slows every allocation down (docs/profiler.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os.path import basename
from time import time_ns
from typing import Any

from obskit.base.pprof import Location, Profile, Sample, ValueType
from obskit.profiling.own_files import own_files

_FRAMES = 8


class HeapTracing:
    """Starts tracemalloc, and stops it again unless the application had started it itself."""

    def __init__(self) -> None:
        self._ours = False

    def start(self) -> None:
        """Trace allocations from now on."""
        import tracemalloc

        if not tracemalloc.is_tracing():
            tracemalloc.start(_FRAMES)
            self._ours = True

    def stop(self) -> None:
        """Stop tracing, if ``start`` began it."""
        if self._ours:
            import tracemalloc

            tracemalloc.stop()
            self._ours = False


_MOST = 50_000  # allocations; each takes about 10 us
_BIG = 65_536  # bytes
_REST_EVERY = 200
_TYPES = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))


def heap_profile(rest: Callable[[], object]) -> Profile:
    """Return what is allocated now. tracemalloc knows files and lines only, so the file's name stands for the function.

    tracemalloc slows this function's own allocations, too: of very many small allocations, only a part is read and
    scaled up. ``rest`` is called now and then, to let other threads run.
    """
    import tracemalloc

    began = time_ns()
    traces = tracemalloc.take_snapshot().traces._traces if tracemalloc.is_tracing() else ()  # type: ignore[attr-defined]
    weight = 1 + len(traces) // _MOST
    totals: dict[int, list[Any]] = {}
    _add((trace for trace in traces if trace[1] >= _BIG), 1, totals, rest)
    _add((trace for trace in traces[::weight] if trace[1] < _BIG), weight, totals, rest)
    own = own_files()
    samples = [
        Sample(tuple(_location(frame, own) for frame in frames), (count, size))
        for frames, count, size in totals.values()
    ]
    return Profile(_TYPES, samples, _TYPES[1], 1, began, time_ns() - began)


def _add(traces: Iterable[Any], weight: int, totals: dict[int, list[Any]], rest: Callable[[], object]) -> None:
    for number, (_, size, frames, _) in enumerate(traces):
        total = totals.get(id(frames))  # tracemalloc returns equal tracebacks as the same object
        if total is None:
            total = totals[id(frames)] = [frames, 0, 0]
        total[1] += weight
        total[2] += weight * size
        if number % _REST_EVERY == 0:
            rest()


def _location(frame: tuple[str, int], own: Mapping[str, str]) -> Location:
    file, line = frame
    return Location(basename(file), own.get(file, file), 0, line)
