"""Builds the rooms from the settings, and takes them down again: one runtime a process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic, perf_counter_ns
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace as otel

from obskit.export.destinations import parse
from obskit.export.pipeline import Limits, Pipeline
from obskit.instrumentation.client import propagate_to
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.response_flush import flush_responses
from obskit.instrumentation.server import abandon_streams
from obskit.instrumentation.targets import Targets
from obskit.instrumentation.tracer import propagator, provider
from obskit.integrations import TARGETS, install
from obskit.logs.setup import LogOptions, LogSetup
from obskit.resource import attributes as resource_attributes
from obskit.resource import in_google_cloud
from obskit.settings import Settings
from obskit.termination import Termination
from obskit.tracing.failures import failed, failures, tell
from obskit.tracing.process import check_fork, on_fork
from obskit.tracing.redaction import Redactor
from obskit.tracing.sampling.head import SamplingOptions
from obskit.tracing.span import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from obskit.export.backlog import Backlog
    from obskit.export.zipkin_span import Convert
    from obskit.profiling.setup import ProfilerOptions, Running

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
        self._profiler: Running | None = None
        self._profiled: ProfilerOptions | None = None
        self._termination = Termination(self._exit)
        self._installed: list[str] | None = None
        self._permanent = False

    @property
    def pipelines(self) -> list[Pipeline]:
        """Every pipeline that may still hold spans."""
        return [*(pipeline for _, pipeline in self._pipelines), *self._retired, *self._logs.pipelines]

    def _fill(self) -> float:
        """Return how full the fullest of the spans' queues is."""
        fill = 0.0
        for _, pipeline in self._pipelines:
            fill = max(fill, pipeline.fill)
        return fill

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
        provider.sample(sampling_options(settings), self._fill)
        provider.resource_attributes = resource_attributes(settings)
        provider.redactor = Redactor(settings.mask_keys)
        propagator.use(settings.propagation)
        propagate_to(None if settings.propagate_to is None else Targets(settings.propagate_to))
        self._export(settings)
        flush_responses(self.flush, settings.response_flush)
        self._logs.apply(log_options(settings))
        self._instrument(settings)
        self._set_permanent()
        self._termination.watch()
        self._profile(profiler_options(settings))

    def _switch_off(self, settings: Settings) -> None:
        """Record and propagate nothing: who receives our calls decides on his own."""
        provider.sample(SamplingOptions(rate=0), self._fill)
        propagator.use(())
        self._export(settings._replace(exporter=()))
        flush_responses(None)
        self._logs.remove()
        self._unpatch()
        self._profile(None)

    def _export(self, settings: Settings) -> None:
        """Make the pipelines those of ``settings``. One that stays is kept, with what it holds and its connection."""
        before = self._pipelines
        self._pipelines = [_take(before, key) or (key, build()) for key, build in _wanted(settings)]
        for _, pipeline in self._pipelines:
            pipeline.use(_limits(settings))
            if settings.spool is not None and os.path.isdir(settings.spool) and os.listdir(settings.spool):
                pipeline.resume()
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

    def _profile(self, options: ProfilerOptions | None) -> None:
        """Run the profiler of ``options``, or none; the same ones again leave it alone."""
        if options == self._profiled:
            return
        self._stop_profiler(monotonic() + self._exit_timeout())
        if options is not None:
            from obskit.profiling.setup import start

            self._profiler, self._profiled = start(options), options

    def _stop_profiler(self, deadline: float) -> bool:
        profiler, self._profiler, self._profiled = self._profiler, None, None
        return profiler is None or profiler.stop(deadline)

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
        self._hooks_for_good.when_imported("celery.signals", self._watch_celery)

    def _watch_children(self, module: ModuleType) -> None:
        """Have a child of multiprocessing deliver: it ends by ``os._exit`` after finalizers of its own, without atexit.

        A forked child forgets its parent's finalizers; the least priority runs last.
        """

        def register(runtime: Runtime) -> None:
            module.Finalize(None, runtime._exit, exitpriority=-1000)

        module.register_after_fork(self, register)
        if module.process.parent_process() is not None:
            register(self)

    def _watch_celery(self, module: ModuleType) -> None:
        """Have a process of Celery's pool deliver: it ends by ``os._exit``, with neither finalizers nor atexit."""

        def deliver(**_: object) -> None:
            self._exit()

        module.worker_process_shutdown.connect(deliver, weak=False)

    def _forked(self) -> None:
        """Run in a forked child: the parent delivers what it queued, the child starts afresh."""
        self._lock = threading.RLock()
        self._retired.clear()
        provider.renew_sampling()
        for pipeline in (*(pipeline for _, pipeline in self._pipelines), *self._retired):
            pipeline.renew()
        provider.report_to(*(_born_here(pipeline.offer) for _, pipeline in self._pipelines))
        if self.settings is not None:
            provider.resource_attributes = resource_attributes(self.settings)
        if self._profiler is not None:
            self._profiler.renew()

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
            flush_responses(None)
            done = self._stop(monotonic() + timeout)
            if unpatch:
                self._unpatch()
                self._logs.remove()
                self._termination.leave()
            self.settings = None
            return done

    def _stop(self, deadline: float) -> bool:
        """Close all pipelines at once, then wait for each."""
        if self._profiler is not None:
            self._profiler.retire()
        for pipeline in self.pipelines:
            pipeline.retire(deadline)
        done = [pipeline.close(deadline) for pipeline in self.pipelines]
        done.append(self._stop_profiler(deadline))
        if provider.processors:
            done.append(provider.flush_processors(deadline))
            provider.shut_processors_down()
        return all(done)

    def _exit(self) -> None:
        check_fork()
        abandon_streams()
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
            "sampling": provider.sampling_stats(),
            "failures": failures.value,
            "exporters": exporters,
            "logs": self._logs.stats(),
            "profiler": {"state": "off"} if self._profiler is None else self._profiler.stats(),
        }


def _wanted(settings: Settings) -> list[tuple[Any, Callable[[], Pipeline]]]:
    """Return, for each exporter, what makes two of them the same, and what builds its pipeline."""
    found: list[tuple[Any, Callable[[], Pipeline]]] = []
    for target in settings.exporter:
        convert, options = partial(_converter, settings.service), (settings.project or "", settings.zipkin_encoding)
        parsed = parse(target, convert, lambda: provider.resource, *options)
        if parsed is not None:
            key = (target, (settings.service, *options) if isinstance(target, str) else None)
            spool = _spool_options(settings) if isinstance(target, str) and "://" in target else None
            build = partial(Pipeline, *parsed, _limits(settings), open_backlog=_backlog(parsed[0], spool))
            found.append(((*key, spool), build))
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


def sampling_options(settings: Settings) -> SamplingOptions:
    """Return what sampling needs of the settings."""
    return SamplingOptions(
        settings.sample_rate,
        settings.sample_rules,
        settings.sample_limit,
        settings.inbound_limit,
        settings.keep_errors,
        settings.keep_slow,
        settings.backpressure,
        settings.service,
    )


def profiler_options(settings: Settings) -> ProfilerOptions | None:
    """Return what the profiler needs of the settings; None where it is off, and then not even imported."""
    upload = settings.profiler != "off" and in_google_cloud()
    if settings.profiler == "off" or (settings.profiler == "auto" and not (upload or settings.profiler_output)):
        return None
    from obskit.profiling.setup import ProfilerOptions

    return ProfilerOptions(
        "builtin" if settings.profiler == "auto" else settings.profiler,
        settings.profiler_output,
        upload,
        settings.profiler_hz,
        settings.profiler_duration,
        settings.profiler_interval,
        settings.profiler_heap,
        settings.service,
        settings.version,
        settings.project,
    )


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
    return Limits(
        settings.queue_size,
        settings.batch_size,
        settings.flush_interval,
        settings.export_timeout,
        settings.queue_bytes,
    )


class _SpoolOptions(NamedTuple):
    folder: str
    size: int
    age: float
    write_through: bool
    encoding: str


def _spool_options(settings: Settings) -> _SpoolOptions | None:
    if settings.spool is None:
        return None
    encoding = settings.zipkin_encoding
    return _SpoolOptions(
        settings.spool, settings.spool_bytes, settings.spool_age, settings.spool_write_through, encoding
    )


def _backlog(destination: str, options: _SpoolOptions | None) -> Callable[[], Backlog] | None:
    """Return what opens the backlog of a destination: what is encoded in another way is another's."""
    return partial(_open_backlog, f"{destination} {options.encoding}", options) if options is not None else None


def _open_backlog(name: str, options: _SpoolOptions) -> Backlog:
    from pathlib import Path

    from obskit.export.backlog import Backlog
    from obskit.export.spool.spool import Spool

    return Backlog(Spool(Path(options.folder), name, options.size, options.age), options.write_through)


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
