"""Chooses the profiler and the output of its profiles."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from obskit.base.failures import tell
from obskit.export.net.url import masked
from obskit.instrumentation.server import watch_all
from obskit.profiling.profiler import Profiler
from obskit.profiling.threads import HAS_CPU_CLOCKS

if TYPE_CHECKING:
    from obskit.profiling.outputs import Output

_NOWHERE = (
    "profiler='builtin' has nowhere to put profiles: name a folder (profiler_output=, OBSKIT_PROFILER_OUTPUT) or a "
    "collector; only in Google Cloud they go to Cloud Profiler by themselves"
)


class ProfilerOptions(NamedTuple):
    """The settings for the profiler; see ``settings.OPTIONS``. ``upload``: whether to use Cloud Profiler."""

    mode: str
    output: str | None
    upload: bool
    hz: float
    duration: float
    interval: float
    heap: bool
    service: str
    version: str | None
    project: str | None
    collector: str | None = None


class Running(Protocol):
    """A running profiler."""

    def after_fork(self) -> None:
        """Start again in a forked child."""

    def begin_stop(self) -> None:
        """Begin to stop, without waiting."""

    def stop(self, deadline: float) -> bool:
        """Stop; return whether that was done before ``deadline`` (of ``time.monotonic``)."""

    def stats(self) -> dict[str, Any]:
        """Return its state and counters."""


def start(options: ProfilerOptions) -> Running | None:
    """Start the profiler of ``options``; return None if it has no output for profiles."""
    if options.mode == "google":
        return _Google(options)
    if options.output is None and options.collector is None and not options.upload:
        tell(logging.WARNING, _NOWHERE)
        return None
    profiler = _Builtin(options)
    profiler.start()
    return profiler


class _Builtin(Profiler):
    """obskit's profiler, which needs the route of each request."""

    def __init__(self, options: ProfilerOptions) -> None:
        named = (options.output, options.collector and masked(options.collector))
        destination = ", ".join(filter(None, named)) or "Cloud Profiler"
        super().__init__(destination, lambda: _output(options), options.hz, options.heap)

    def start(self) -> None:
        watch_all(True)
        super().start()

    def stop(self, deadline: float) -> bool:
        watch_all(False)
        return super().stop(deadline)


def _output(options: ProfilerOptions) -> Output:
    types = (*(["CPU"] if HAS_CPU_CLOCKS else []), "WALL", *(["HEAP"] if options.heap else []))
    from obskit.profiling.outputs import CollectorOutput, FolderOutput, Schedule

    schedule = Schedule(types, options.duration, options.interval)
    folder = FolderOutput(options.output, options.service, schedule) if options.output is not None else None
    if options.collector is not None:
        return CollectorOutput(options.collector, options.service, options.version, schedule, folder)
    if folder is not None:
        return folder
    from obskit.profiling.cloud_profiler import CloudProfilerOutput

    return CloudProfilerOutput(types, options.service, options.version, options.project)


class _Google:
    """Google's agent, which restarts itself after a fork."""

    def __init__(self, options: ProfilerOptions) -> None:
        from obskit.profiling.google_agent import AgentOptions, GoogleAgent

        self._agent = GoogleAgent(AgentOptions(options.service, options.version, options.project))
        self._agent.start()

    def after_fork(self) -> None:
        return

    def begin_stop(self) -> None:
        self._agent.stop()

    def stop(self, _deadline: float) -> bool:
        self.begin_stop()
        return True

    def stats(self) -> dict[str, Any]:
        return self._agent.stats()
