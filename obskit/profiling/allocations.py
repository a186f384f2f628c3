"""Switches tracemalloc on for heap profiles: opt-in, for it slows every allocation down (docs/profiler.md)."""

from __future__ import annotations

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
