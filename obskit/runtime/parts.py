"""What each part of the library needs of the settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from obskit.export.destinations import parse
from obskit.export.pipeline import Limits, Pipeline
from obskit.instrumentation.tracer import provider
from obskit.logs.setup import LogOptions
from obskit.resource import in_google_cloud, process_tags
from obskit.settings import DEFAULT_EXIT_TIMEOUT, Settings
from obskit.tracing.sampling.head import SamplingOptions

if TYPE_CHECKING:
    from obskit.export.backlog import Backlog
    from obskit.export.zipkin_span import Convert
    from obskit.profiling.setup import ProfilerOptions

_LOGS_EXIT_TIMEOUT = 5.0  # Google's client alone takes up to two seconds to import


class Export(NamedTuple):
    """One exporter of the settings: those with equal keys are the same; ``build`` makes its pipeline."""

    key: tuple[Any, ...]
    build: Callable[[], Pipeline]


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
        _LOGS_EXIT_TIMEOUT if settings.exit_timeout == DEFAULT_EXIT_TIMEOUT else settings.exit_timeout,
        settings.environment,
    )


def exports(settings: Settings) -> list[Export]:
    """Return the exporters of the settings; ``none`` is no exporter."""
    found: list[Export] = []
    for target in settings.exporter:
        convert, options = partial(_converter, settings), (settings.project or "", settings.zipkin_encoding)
        parsed = parse(target, convert, lambda: provider.resource, *options)
        if parsed is not None:
            key = (
                target,
                (settings.service, settings.version, settings.environment, *options)
                if isinstance(target, str)
                else None,
            )
            spool = _spool_options(settings) if isinstance(target, str) and "://" in target else None
            build = partial(Pipeline, *parsed, limits(settings), open_backlog=_backlog(parsed[0], spool))
            found.append(Export((*key, spool), build))
    return found


def _converter(settings: Settings) -> Convert:
    from obskit.export.zipkin_span import converter

    return converter(settings.service, process_tags(settings))


def limits(settings: Settings) -> Limits:
    """Return how much a pipeline holds and how long it takes."""
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
