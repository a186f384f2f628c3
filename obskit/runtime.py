"""Builds the rooms from the settings, and takes them down again: one runtime a process."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from opentelemetry import trace as otel

from obskit import resource
from obskit.export.destinations import parse
from obskit.export.pipeline import Pipeline
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.tracer import propagator, provider
from obskit.integrations import TARGETS, install
from obskit.settings import Settings
from obskit.tracing.failures import failures, logger
from obskit.tracing.process import on_fork
from obskit.tracing.sampling import rate_sampler
from obskit.tracing.span import Span

_PROPAGATE = "opentelemetry.propagate"


class Runtime:
    """What ``init()`` set up. All state of the library that is not a span hangs here."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.pipelines: tuple[Pipeline, ...] = ()
        self._retired: list[Pipeline] = []
        self._lock = threading.RLock()
        self._patches = Patches()
        self._hooks = ImportHooks()
        self._global = False

    def configure(self, settings: Settings) -> None:
        """Apply ``settings``; the same ones again change nothing."""
        with self._lock:
            if settings == self.settings:
                return
            if self.settings is not None:
                logger.info("obskit.init() was called again with other options; they apply from now on")
            self.settings = settings
            if settings.enabled:
                self._apply(settings)
            else:
                self._stop(monotonic(), wait=False)
                self._restore()

    def _apply(self, settings: Settings) -> None:
        provider.sampler = rate_sampler(settings.sample_rate)
        provider.resource_attributes = resource.attributes(settings)
        propagator.use(settings.propagation)
        self._replace_pipelines(settings)
        self._restore()
        wanted = TARGETS if settings.integrations is None else settings.integrations
        install([name for name in wanted if name not in settings.disable], self._hooks, self._patches)
        self._set_global()

    def _replace_pipelines(self, settings: Settings) -> None:
        old, self.pipelines = self.pipelines, _pipelines(settings)
        provider.report = _report([pipeline.offer for pipeline in self.pipelines])
        for pipeline in old:
            pipeline.close(monotonic() + settings.exit_timeout, wait=False)
        self._retired = [*(one for one in self._retired if one.busy), *old]

    def _set_global(self) -> None:
        """Become OpenTelemetry's provider and, once a program asks for propagation at all, its propagator."""
        if self._global:
            return
        self._global = True
        otel.set_tracer_provider(provider)
        self._hooks_for_good = ImportHooks()
        self._hooks_for_good.when_imported(_PROPAGATE, lambda module: module.set_global_textmap(propagator))
        on_fork(self._forked)
        atexit.register(self._exit)

    def _restore(self) -> None:
        self._hooks.remove()
        self._patches.remove()

    def _forked(self) -> None:
        """Run in a forked child: the parent delivers what it queued, the child starts afresh."""
        self._lock = threading.RLock()
        self._retired.clear()
        for pipeline in self.pipelines:
            pipeline.renew()
        if self.settings is not None:
            provider.resource_attributes = resource.attributes(self.settings)

    def flush(self, timeout: float) -> bool:
        """Deliver everything so far; all exporters share one deadline."""
        deadline = monotonic() + timeout
        return all([pipeline.flush(deadline) for pipeline in (*self._retired, *self.pipelines)])

    def shutdown(self, timeout: float, unpatch: bool) -> bool:
        """Deliver what is queued and stop; spans that end later are counted as dropped."""
        with self._lock:
            done = self._stop(monotonic() + timeout, wait=True)
            if unpatch:
                self._restore()
            self.settings = None
            return done

    def _stop(self, deadline: float, wait: bool) -> bool:
        return all([pipeline.close(deadline, wait) for pipeline in (*self._retired, *self.pipelines)])

    def _exit(self) -> None:
        timeout = self.settings.exit_timeout if self.settings is not None else 0.0
        self._stop(monotonic() + timeout, wait=True)

    def stats(self) -> dict[str, Any]:
        """Return the counters of this process; see ``obskit.stats``."""
        exporters = [pipeline.stats() for pipeline in self.pipelines]
        return {"sampled_out": provider.sampled_out.value, "failures": failures.value, "exporters": exporters}


def _report(offers: list[Callable[[Span], None]]) -> Callable[[Span], None]:
    """Return what ended spans are handed to: the one pipeline itself, where there is one."""
    if len(offers) == 1:
        return offers[0]

    def report(span: Span) -> None:
        for offer in offers:
            offer(span)

    return report


def _pipelines(settings: Settings) -> tuple[Pipeline, ...]:
    found = (parse(target, settings.service, lambda: provider.resource) for target in settings.exporter)
    return tuple(
        Pipeline(
            destination,
            build,
            capacity=settings.queue_size,
            batch_size=settings.batch_size,
            interval=settings.flush_interval,
            timeout=settings.export_timeout,
        )
        for destination, build in filter(None, found)
    )


runtime = Runtime()
