"""Derives from the settings what each part needs, its resource attributes, and the process's pipelines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Any

from obskit.base.records import NamedTuple
from obskit.export.delivery.pipeline import Limits, Pipeline
from obskit.export.destinations import Destination, Making, Plan, parse
from obskit.export.gcp.surroundings import in_google_cloud
from obskit.instrumentation.tracer import provider
from obskit.logs.setup import LogOptions
from obskit.settings import DEFAULT_EXIT_TIMEOUT, Settings
from obskit.settings.environment import ZIPKIN
from obskit.tracing.sampling.head import SamplingOptions
from obskit.tracing.span import Span

if TYPE_CHECKING:
    from obskit.export.delivery.backlog import Backlog
    from obskit.export.delivery.collector_report import CollectorReport
    from obskit.export.zipkin.translation import Convert
    from obskit.profiling.setup import ProfilerOptions


def attributes(settings: Settings) -> dict[str, str]:
    """Return the resource attributes from the settings and the operating system, without any network request."""
    found = {
        "service.name": settings.service,
        "service.version": settings.version,
        "deployment.environment.name": settings.environment,
        "host.name": os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME"),
        "process.pid": str(os.getpid()),
    }
    return {**_pod(), **{key: value for key, value in found.items() if value}}


def _pod() -> dict[str, str]:
    if "KUBERNETES_SERVICE_HOST" not in os.environ:  # OpenTelemetry's Resource reads its variable by itself
        return {}
    from obskit.base.resource_attributes import pod_attributes

    return pod_attributes(os.environ)


def process_tags(settings: Settings) -> dict[str, str]:
    """Return the tags that each span in Zipkin's model gets for the process, besides the service's name."""
    found = {"service.version": settings.version, "deployment.environment.name": settings.environment}
    return {key: value for key, value in found.items() if value}


_LOGS_EXIT_TIMEOUT = 5.0  # Google's client alone takes up to two seconds to import


class Export(NamedTuple):
    """One exporter of the settings: equal keys mean the same exporter; ``build`` makes its pipeline."""

    key: tuple[Any, ...]
    build: Callable[[], Pipeline]


def sampling_options(settings: Settings) -> SamplingOptions:
    """Return the settings for sampling."""
    return SamplingOptions(
        rate=settings.sample_rate,
        rules=settings.sample_rules,
        limit=settings.sample_limit,
        inbound_limit=settings.inbound_limit,
        keep_errors=settings.keep_errors,
        keep_slow=settings.keep_slow,
        backpressure=settings.backpressure,
        service=settings.service,
    )


def profiler_options(settings: Settings) -> ProfilerOptions | None:
    """Return the settings for the profiler; None if it is off, so that it is not even imported."""
    upload = settings.profiler != "off" and in_google_cloud()
    wanted = upload or settings.profiler_output or settings.collector
    if settings.profiler == "off" or (settings.profiler == "auto" and not wanted):
        return None
    from obskit.profiling.setup import ProfilerOptions

    return ProfilerOptions(
        mode="builtin" if settings.profiler == "auto" else settings.profiler,
        output=settings.profiler_output,
        upload=upload,
        hz=settings.profiler_hz,
        duration=settings.profiler_duration,
        interval=settings.profiler_interval,
        heap=settings.profiler_heap,
        service=settings.service,
        version=settings.version,
        project=settings.project,
        collector=settings.collector,
    )


def log_options(settings: Settings) -> LogOptions:
    """Return the settings for logs."""
    is_long = settings.logs == "cloud" and settings.exit_timeout == DEFAULT_EXIT_TIMEOUT
    return LogOptions(
        mode=settings.logs,
        service=settings.service,
        version=settings.version,
        environment=settings.environment,
        project=settings.project,
        mask_keys=settings.mask_keys,
        request_log=settings.request_log,
        exit_timeout=_LOGS_EXIT_TIMEOUT if is_long else settings.exit_timeout,
        collector=settings.collector,
        limits=limits(settings),
    )


def exports(settings: Settings) -> list[Export]:
    """Return the exporters of the settings, without ``none``."""
    return [_export(settings, one.target, one.plan) for one in _destinations(settings) if one.plan is not None]


def _destinations(settings: Settings) -> tuple[Destination, ...]:
    """Return where spans go: with a collector to that and to exporters other than the default, but for ``none``."""
    if settings.collector is None:
        return settings.exporter
    own = parse(settings.collector)
    named = tuple(one for one in settings.exporter if one.target not in (ZIPKIN, own.target))
    return named if named and all(one.plan is None for one in named) else (own, *named)


def _export(settings: Settings, target: Any, plan: Plan) -> Export:
    is_text = isinstance(target, str)
    making = Making(
        convert=partial(_converter, settings),
        resource=lambda: provider.resource,
        project=settings.project or "",
        zipkin_encoding=settings.zipkin_encoding,
        report=partial(_collector_report, settings.service, is_text and target == settings.collector),
    )
    shown, build = plan(making)
    spool = _spool_options(settings) if is_text and "://" in target else None
    says = (settings.service, settings.version, settings.environment, making.project, making.zipkin_encoding)
    pipeline = partial(Pipeline, shown, build, limits(settings), open_backlog=_backlog(shown, spool))
    return Export((target, says if is_text else None, spool), pipeline)


def _converter(settings: Settings) -> Convert:
    from obskit.export.zipkin.translation import converter

    return converter(settings.service, process_tags(settings), _place)


def _collector_report(service: str, known: bool) -> CollectorReport:
    from obskit.export.delivery.collector_report import CollectorReport

    return CollectorReport(service, "spans", known)


def _place() -> dict[str, str]:
    from obskit.export.gcp.metadata import pod_and_cluster

    return pod_and_cluster(os.environ)


def limits(settings: Settings) -> Limits:
    """Return the limits of a pipeline."""
    return Limits(
        capacity=settings.queue_size,
        size=settings.queue_bytes,
        batch_size=settings.batch_size,
        interval=settings.flush_interval,
        timeout=settings.export_timeout,
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
    return _SpoolOptions(
        folder=settings.spool,
        size=settings.spool_bytes,
        age=settings.spool_age,
        write_through=settings.spool_write_through,
        encoding=settings.zipkin_encoding,
    )


def _backlog(destination: str, options: _SpoolOptions | None) -> Callable[[], Backlog] | None:
    """Return a function that opens the destination's backlog; each encoding has its own."""
    return partial(_open_backlog, f"{destination} {options.encoding}", options) if options is not None else None


def _open_backlog(name: str, options: _SpoolOptions) -> Backlog:
    from pathlib import Path

    from obskit.export.delivery.backlog import Backlog
    from obskit.export.spool.spool import Spool

    return Backlog(Spool(Path(options.folder), name, options.size, options.age), options.write_through)


class Pipelines:
    """The pipelines that may still hold spans: those of the settings, and those being closed."""

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

    def apply(self, settings: Settings) -> None:
        """Replace the pipelines by those of ``settings``. Unchanged ones are kept, with their queue and connection."""
        before = self._current
        self._current = [_take(before, key) or (key, build()) for key, build in exports(settings)]
        for _, pipeline in self._current:
            pipeline.set_limits(limits(settings))
            if settings.spool is not None and os.path.isdir(settings.spool) and os.listdir(settings.spool):
                pipeline.resume()
        provider.report_to(*(pipeline.offer for _, pipeline in self._current))
        replaced = [pipeline for _, pipeline in before if not pipeline.closed]
        for pipeline in replaced:
            pipeline.begin_close(monotonic() + settings.exit_timeout)
        closed = [*self._retired, *(pipeline for _, pipeline in before if pipeline not in replaced)]
        self._retired = [*(pipeline for pipeline in closed if pipeline.busy), *replaced]

    def after_fork(self) -> None:
        """Start empty in a forked child: the parent delivers its queue."""
        self._retired.clear()
        for _, pipeline in self._current:
            pipeline.after_fork()
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
    """Return ``offer`` for spans that start from now on; the parent delivers those that were open at the fork."""
    now = perf_counter_ns()

    def offer_own(span: Span) -> None:
        if span.start_ns - span.clock >= now:
            offer(span)

    return offer_own
