"""The pipelines of the process: those of the settings, and those that are on their way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import monotonic, perf_counter_ns
from typing import Any

from obskit.export.pipeline import Pipeline
from obskit.instrumentation.tracer import provider
from obskit.runtime.parts import exports, limits
from obskit.settings import Settings
from obskit.tracing.span import Span


class Pipelines:
    """Every pipeline that may still hold spans."""

    def __init__(self) -> None:
        self._current: list[tuple[Any, Pipeline]] = []
        self._retired: list[Pipeline] = []

    def __iter__(self) -> Iterator[Pipeline]:
        return iter([*(pipeline for _, pipeline in self._current), *self._retired])

    def fill(self) -> float:
        """Return how full the fullest of the spans' queues is."""
        fill = 0.0
        for _, pipeline in self._current:
            fill = max(fill, pipeline.fill)
        return fill

    def use(self, settings: Settings) -> None:
        """Make the pipelines those of ``settings``. One that stays is kept, with what it holds and its connection."""
        before = self._current
        self._current = [_take(before, key) or (key, build()) for key, build in exports(settings)]
        for _, pipeline in self._current:
            pipeline.use(limits(settings))
            if settings.spool is not None and os.path.isdir(settings.spool) and os.listdir(settings.spool):
                pipeline.resume()
        provider.report_to(*(pipeline.offer for _, pipeline in self._current))
        replaced = [pipeline for _, pipeline in before if not pipeline.closed]
        for pipeline in replaced:
            pipeline.retire(monotonic() + settings.exit_timeout)
        closed = [*self._retired, *(pipeline for _, pipeline in before if pipeline not in replaced)]
        self._retired = [*(pipeline for pipeline in closed if pipeline.busy), *replaced]

    def renew(self) -> None:
        """Start afresh, as a forked child must: the parent delivers what it queued."""
        self._retired.clear()
        for _, pipeline in self._current:
            pipeline.renew()
        provider.report_to(*(_born_here(pipeline.offer) for _, pipeline in self._current))

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each."""
        return [pipeline.stats() for pipeline in self]


def _take(pipelines: list[tuple[Any, Pipeline]], key: Any) -> tuple[Any, Pipeline] | None:
    """Remove the first pipeline with ``key`` that is still open, and return it."""
    for index, (other, pipeline) in enumerate(pipelines):
        if other == key and not pipeline.closed:
            return pipelines.pop(index)
    return None


def _born_here(offer: Callable[[Span], None]) -> Callable[[Span], None]:
    """Return ``offer`` for spans that start from now on: one that was open at a fork is the parent's to deliver."""
    now = perf_counter_ns()

    def offer_own(span: Span) -> None:
        if span.start_ns - span.clock >= now:
            offer(span)

    return offer_own
