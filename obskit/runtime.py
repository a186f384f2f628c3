"""Builds the rooms from the settings, and takes them down again: one runtime a process."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic, perf_counter_ns
from types import ModuleType
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel

from obskit.export.destinations import parse
from obskit.export.pipeline import Limits, Pipeline
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.tracer import propagator, provider
from obskit.integrations import TARGETS, install
from obskit.logs.setup import LogOptions, LogSetup
from obskit.resource import attributes as resource_attributes
from obskit.settings import Settings
from obskit.tracing.failures import failed, failures, tell
from obskit.tracing.process import check_fork, on_fork
from obskit.tracing.sampling import rate_sampler
from obskit.tracing.span import Span
from obskit.tracing.tally import Tally

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from obskit.export.zipkin_span import Convert

_OVERTAKEN = (
    "another OpenTelemetry TracerProvider (%s) was set before obskit.init(): spans made through OpenTelemetry's API go "
    "there, those of obskit's integrations to obskit; call obskit.init() first, or do not set the other, to have all"
)


class Runtime:
    """What ``init()`` set up. All state of the library that is not a span hangs here."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self._pipelines: list[tuple[Any, Pipeline]] = []
        self._retired: list[Pipeline] = []
        self._lock = threading.RLock()
        self._patches = Patches()
        self._hooks = ImportHooks()
        self._hooks_for_good = ImportHooks()
        self._logs = LogSetup()
        self._installed: list[str] | None = None
        self._permanent = False

    @property
    def pipelines(self) -> list[Pipeline]:
        """Every pipeline that may still hold spans."""
        return [*(pipeline for _, pipeline in self._pipelines), *self._retired, *self._logs.pipelines]

    def configure(self, settings: Settings) -> None:
        """Apply ``settings``; the same ones again change nothing."""
        check_fork()
        with self._lock:
            if settings == self.settings:
                return
            if self.settings is not None:
                tell(logging.INFO, "obskit.init() was called again with other options; they apply from now on")
            self.settings = settings
            if settings.enabled:
                self._apply(settings)
            else:
                self._switch_off(settings)

    def _apply(self, settings: Settings) -> None:
        provider.sampler = rate_sampler(settings.sample_rate)
        provider.resource_attributes = resource_attributes(settings)
        propagator.use(settings.propagation)
        self._export(settings)
        self._logs.apply(log_options(settings))
        self._instrument(settings)
        self._set_permanent()

    def _switch_off(self, settings: Settings) -> None:
        """Record and propagate nothing: who receives our calls decides on his own."""
        provider.sampler = rate_sampler(0)
        propagator.use(())
        self._export(settings._replace(exporter=()))
        self._logs.remove()
        self._unpatch()

    def _export(self, settings: Settings) -> None:
        """Make the pipelines those of ``settings``. One that stays is kept, with what it holds and its connection."""
        before = self._pipelines
        self._pipelines = [_take(before, key) or (key, build()) for key, build in _wanted(settings)]
        for _, pipeline in self._pipelines:
            pipeline.use(_limits(settings))
        provider.report_to(*(pipeline.offer for _, pipeline in self._pipelines))
        replaced = [pipeline for _, pipeline in before if not pipeline.closed]
        for pipeline in replaced:
            pipeline.retire(monotonic() + settings.exit_timeout)
        closed = [*self._retired, *(pipeline for _, pipeline in before if pipeline not in replaced)]
        self._retired = [*(pipeline for pipeline in closed if pipeline.busy), *replaced]

    def _instrument(self, settings: Settings) -> None:
        wanted = TARGETS if settings.integrations is None else settings.integrations
        names = [name for name in wanted if name not in settings.disable]
        if names != self._installed:
            self._unpatch()
            install(names, self._hooks, self._patches)
            self._installed = names

    def _unpatch(self) -> None:
        self._hooks.remove()
        self._patches.remove()
        self._installed = None

    def _set_permanent(self) -> None:
        """Do once what cannot be undone: become OpenTelemetry's provider, and watch for forks and the end."""
        if self._permanent:
            return
        self._permanent = True
        provider.to_readable = _readable
        provider.on_flush = self.flush
        provider.on_shutdown = lambda: self.shutdown(self._exit_timeout(), unpatch=False)
        _become_global(self._hooks_for_good)
        on_fork(self._forked)
        atexit.register(self._exit)
        self._hooks_for_good.when_imported("multiprocessing.util", self._watch_children)

    def _watch_children(self, module: ModuleType) -> None:
        """Have a child of multiprocessing deliver: it ends by ``os._exit`` after finalizers of its own, without atexit.

        A forked child forgets its parent's finalizers; the least priority runs last.
        """

        def register(runtime: Runtime) -> None:
            module.Finalize(None, runtime._exit, exitpriority=-1000)

        module.register_after_fork(self, register)
        if module.process.parent_process() is not None:
            register(self)

    def _forked(self) -> None:
        """Run in a forked child: the parent delivers what it queued, the child starts afresh."""
        self._lock = threading.RLock()
        self._retired.clear()
        provider.sampled_out = Tally()
        for pipeline in (*(pipeline for _, pipeline in self._pipelines), *self._retired):
            pipeline.renew()
        provider.report_to(*(_born_here(pipeline.offer) for pipeline in self.pipelines))
        if self.settings is not None:
            provider.resource_attributes = resource_attributes(self.settings)

    def flush(self, timeout: float) -> bool:
        """Deliver everything so far; all exporters share one deadline."""
        check_fork()
        deadline = monotonic() + timeout
        delivered = [pipeline.flush(deadline) for pipeline in self.pipelines]
        return provider.flush_processors(deadline) and all(delivered)

    def shutdown(self, timeout: float, unpatch: bool) -> bool:
        """Deliver what is queued and stop; spans that end later are counted as dropped."""
        check_fork()
        with self._lock:
            done = self._stop(monotonic() + timeout)
            if unpatch:
                self._unpatch()
                self._logs.remove()
            self.settings = None
            return done

    def _stop(self, deadline: float) -> bool:
        """Close all pipelines at once, then wait for each."""
        for pipeline in self.pipelines:
            pipeline.retire(deadline)
        done = [pipeline.close(deadline) for pipeline in self.pipelines]
        if provider.processors:
            done.append(provider.flush_processors(deadline))
            provider.shut_processors_down()
        return all(done)

    def _exit(self) -> None:
        check_fork()
        self._stop(monotonic() + self._exit_timeout())
        _keep_interrupted()

    def _exit_timeout(self) -> float:
        return self.settings.exit_timeout if self.settings is not None else 0.0

    def stats(self) -> dict[str, Any]:
        """Return the counters of this process; see ``obskit.stats``."""
        check_fork()
        exporters = [pipeline.stats() for _, pipeline in self._pipelines] + [one.stats() for one in self._retired]
        return {
            "sampled_out": provider.sampled_out.value,
            "failures": failures.value,
            "exporters": exporters,
            "logs": self._logs.stats(),
        }


def _wanted(settings: Settings) -> list[tuple[Any, Callable[[], Pipeline]]]:
    """Return, for each exporter, what makes two of them the same, and what builds its pipeline."""
    found: list[tuple[Any, Callable[[], Pipeline]]] = []
    for target in settings.exporter:
        parsed = parse(target, partial(_converter, settings.service), lambda: provider.resource)
        if parsed is not None:
            key = (target, settings.service if isinstance(target, str) else None)
            found.append((key, partial(Pipeline, *parsed, _limits(settings))))
    return found


def _converter(service: str) -> Convert:
    from obskit.export.zipkin_span import converter

    return converter(service)


def _take(pipelines: list[tuple[Any, Pipeline]], key: Any) -> tuple[Any, Pipeline] | None:
    """Remove the first pipeline with ``key`` that is still open, and return it."""
    for index, (other, pipeline) in enumerate(pipelines):
        if other == key and not pipeline.closed:
            return pipelines.pop(index)
    return None


def log_options(settings: Settings) -> LogOptions:
    """Return what the logs need of the settings."""
    return LogOptions(
        settings.logs,
        settings.service,
        settings.version,
        settings.project,
        settings.mask_keys,
        settings.request_log,
        max(settings.exit_timeout, 5.0),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.queue_size, settings.batch_size, settings.flush_interval, settings.export_timeout)


def _born_here(offer: Callable[[Span], None]) -> Callable[[Span], None]:
    """Return ``offer`` for spans that start from now on: one that was open at a fork is the parent's to deliver."""
    now = perf_counter_ns()

    def offer_own(span: Span) -> None:
        if span.start_ns - span.clock >= now:
            offer(span)

    return offer_own


def _keep_interrupted() -> None:
    """See that a program ended by Ctrl-C still looks so to its parent.

    CPython then ends by SIGINT, unless some text was evaluated since, as is for each namedtuple of the modules
    that delivery may have imported just now.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            return


def _readable(span: Span) -> ReadableSpan:
    from obskit.export.otel import to_readable

    return to_readable(span, provider.resource)


def _become_global(hooks: ImportHooks) -> None:
    """Become OpenTelemetry's provider and, once a program asks for propagation at all, its propagator."""
    try:
        current = otel.get_tracer_provider()
    except Exception:  # OTEL_PYTHON_TRACER_PROVIDER names one that cannot be loaded
        failed("asking for OpenTelemetry's TracerProvider")
        return
    if isinstance(current, otel.ProxyTracerProvider):
        otel.set_tracer_provider(provider)
        hooks.when_imported("opentelemetry.propagate", lambda module: module.set_global_textmap(propagator))
    elif current is not provider:
        tell(logging.WARNING, _OVERTAKEN, type(current).__name__)


runtime = Runtime()
