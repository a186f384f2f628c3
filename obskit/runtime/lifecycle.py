"""Init, flush, shutdown, forks and the process's end."""

from __future__ import annotations

import atexit
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failures, logger, tell
from obskit.base.fork_warning import warn_of_no_own_threads
from obskit.base.native_threads import in_subinterpreter, join_threads
from obskit.base.process import around_fork, check_fork, on_fork
from obskit.base.redaction import Redactor
from obskit.export.delivery.pipeline import Pipeline
from obskit.instrumentation.client import Hosts, abandon_calls, propagate_to
from obskit.instrumentation.exclusions import exclude
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.open_responses import abandon_streams
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.response_flush import flush_responses
from obskit.instrumentation.tracer import propagator, provider
from obskit.instrumentation.trust import trust
from obskit.integrations import MODULES, install, others
from obskit.logs.setup import LogSetup
from obskit.propagation import baggage
from obskit.runtime.endings import keep_interrupted, watch_celery, watch_children, watch_forked, watch_uvicorn
from obskit.runtime.forked_thread import ForkedThread
from obskit.runtime.global_api import become_global, tell_of_later_ones
from obskit.runtime.interpreter import is_supported
from obskit.runtime.inventory import inventory, summary
from obskit.runtime.parts import Pipelines, log_options, profiler_options, sampling_options
from obskit.runtime.parts import attributes as resource_attributes
from obskit.runtime.termination import Termination
from obskit.settings import Settings, changes, load, unknown_variables
from obskit.tracing.sampling.head import SamplingOptions
from obskit.tracing.span import Span, keep_to

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from obskit.profiling.setup import ProfilerOptions, Running


class Runtime:
    """Everything that ``init()`` sets up."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self._spans = Pipelines()
        self._lock = threading.RLock()
        self._patches = Patches()
        self._hooks = ImportHooks()
        self._hooks_for_good = ImportHooks()
        self._logs = LogSetup()
        self._profiler: Running | None = None
        self._profiled: ProfilerOptions | None = None
        self._termination = Termination(self._exit, self._longest_exit)
        self._forked_thread = ForkedThread(self._end)
        self._installed: list[str] | None = None
        self._imported: tuple[str, ...] = ()
        self._permanent = False
        self._variables_checked = False
        self._given: dict[str, Any] = {}

    @property
    def pipelines(self) -> list[Pipeline]:
        """Return every pipeline that may still hold spans or lines."""
        return [*self._spans, *self._logs.pipelines]

    def init(self, arguments: Mapping[str, Any]) -> None:
        """Apply the options on top of earlier ones; the same options again change nothing. See ``obskit.init``."""
        check_fork()
        with self._lock:
            given = {name: value for name, value in arguments.items() if value is not None}
            settings = load({**self._given, **given})
            settings = settings._replace(enabled=settings.enabled and is_supported())
            if settings == self.settings:
                return
            before, self.settings = self.settings, settings
            if settings.enabled:
                self._apply(settings)
            else:
                self._switch_off(settings)
            for problem in settings.ignored:
                tell(logging.WARNING, "%s", problem)
            self._tell_changes(before, settings, given)
            self._given = {**self._given, **given}
            self._given.pop("enabled", None)  # what was off is on again with the next init()

    def _tell_changes(self, before: Settings | None, after: Settings, given: dict[str, Any]) -> None:
        """Log which options changed; a warning where two parts of the program set different values."""
        if before is not None:
            changed = changes(before, after)
            level = logging.WARNING if changed.keys() & given.keys() & self._given.keys() else logging.INFO
            message = "obskit.init() was called again with other options; from now on: %s"
            tell(level, message, ", ".join(changed.values()))
        elif after.enabled and not self._variables_checked:
            self._variables_checked = True
            for name, meant in unknown_variables().items():
                hint = f"; did you mean {meant}?" if meant else ""
                tell(logging.WARNING, "%s means nothing to this obskit%s", name, hint)

    def _apply(self, settings: Settings) -> None:
        keep_to(settings.span_limits)
        provider.sample(sampling_options(settings), self._spans.fill)
        provider.resource_attributes = resource_attributes(settings)
        provider.redactor = Redactor(settings.mask_keys)
        exclude(settings.exclude)
        trust(settings.trust_incoming)
        propagator.use(settings.propagation)
        baggage.use(settings.baggage)
        propagate_to(None if settings.propagate_to is None else Hosts(settings.propagate_to))
        self._spans.apply(settings)
        flush_responses(self.flush, settings.response_flush)
        self._logs.apply(log_options(settings))
        self._instrument(settings)
        self._set_permanent()
        self._termination.watch()
        self._profile(profiler_options(settings))

    def _switch_off(self, settings: Settings) -> None:
        """Record and propagate nothing, so that called services make their own sampling decisions."""
        provider.sample(SamplingOptions(rate=0), self._spans.fill)
        propagator.use(())
        baggage.use(False)
        self._spans.apply(settings._replace(exporter=()))
        flush_responses(None)
        self._logs.remove()
        self._unpatch()
        self._profile(None)

    def _instrument(self, settings: Settings) -> None:
        named = settings.integrations
        if named is None:
            named = (*MODULES, *others(settings.opentelemetry == "auto"))
        names = [name for name in named if name not in settings.disable]
        if names != self._installed:
            self._unpatch()
            self._imported = tuple(sys.modules)
            install(names, self._hooks, self._patches)
            self._hooks.when_imported("uvicorn.server", partial(watch_uvicorn, self._deliver, self._patches))
            watch_forked(self._deliver, self._patches)
            self._termination.watch_setting(self._patches)
            tell_of_later_ones(self._patches)
            self._installed = names
            if logger.isEnabledFor(logging.DEBUG):
                tell(logging.DEBUG, "%s", summary(inventory(self._patches, self._imported)))

    def _profile(self, options: ProfilerOptions | None) -> None:
        """Run the profiler of ``options``, or none; leave it alone if they are unchanged."""
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
        """Do once what cannot be undone: become OpenTelemetry's provider, and register for forks and the exit."""
        if self._permanent:
            return
        self._permanent = True
        provider.to_readable = _readable
        provider.on_flush = self.flush
        provider.on_shutdown = lambda: self.shutdown(self._exit_timeout(), unpatch=False)
        become_global(self._hooks_for_good)
        on_fork(self._forked)
        Pipeline.starting = staticmethod(self._termination.watch_closely)
        if hasattr(signal, "pthread_sigmask"):
            around_fork(self._termination.before_fork, self._termination.after_fork, self._child_begins)
        thread = self._forked_thread
        around_fork(thread.before_fork, thread.after_fork, thread.after_fork_in_child)
        warn_of_no_own_threads()
        atexit.register(self._exit)
        if in_subinterpreter():  # its end waits for all threads, and only then runs what `atexit` has
            threading._register_atexit(self._exit)  # type: ignore[attr-defined]
        self._hooks_for_good.when_imported("multiprocessing.util", partial(watch_children, self._exit))
        self._hooks_for_good.when_imported("celery.signals", partial(watch_celery, self._exit))

    def _forked(self) -> None:
        """Run in a forked child: the parent delivers its queue, the child starts with an empty one."""
        self._lock = threading.RLock()
        provider.renew_sampling()
        self._spans.after_fork()
        if self.settings is not None:
            provider.resource_attributes = resource_attributes(self.settings)
        if self._profiler is not None:
            self._profiler.after_fork()

    def _child_begins(self) -> None:
        self._termination.after_fork_in_child()
        if self._profiler is not None:
            self._termination.watch_closely()

    def flush(self, timeout: float) -> bool:
        """Deliver everything queued so far; all exporters share one deadline."""
        check_fork()
        deadline = monotonic() + timeout
        delivered = [pipeline.flush(deadline) for pipeline in self.pipelines]
        return provider.flush_processors(deadline) and all(delivered)

    def shutdown(self, timeout: float, unpatch: bool) -> bool:
        """Deliver the queues and stop; spans that end later are counted as dropped."""
        check_fork()
        with self._lock:
            flush_responses(None)
            deadline = monotonic() + timeout
            done = self._stop(deadline, deadline)
            if unpatch:
                self._unpatch()
                self._logs.remove()
                self._termination.leave()
            self.settings, self._given = None, {}
            return done

    def _stop(self, deadline: float, logs_deadline: float) -> bool:
        """Close all pipelines at once, then wait for each."""
        if self._profiler is not None:
            self._profiler.begin_stop()
        ends = dict.fromkeys(self._spans, deadline) | dict.fromkeys(self._logs.pipelines, logs_deadline)
        for pipeline, end in ends.items():
            pipeline.begin_close(end)
        done = [pipeline.close(end) for pipeline, end in ends.items()]
        done.append(self._stop_profiler(deadline))
        if provider.processors:
            done.append(provider.flush_processors(deadline))
            provider.shut_processors_down()
        return all(done)

    def _deliver(self) -> None:
        self.flush(max(self._exit_timeout(), self._logs.exit_timeout))

    def _exit(self) -> None:
        check_fork()
        abandon_streams()
        abandon_calls()
        now = monotonic()
        self._stop(now + self._exit_timeout(), now + self._logs.exit_timeout)
        join_threads()
        for pipeline in self.pipelines:
            pipeline.accept_late(monotonic() + self._exit_timeout())
        keep_interrupted()

    def _end(self) -> None:
        self._exit()
        self._termination.leave()

    def _longest_exit(self) -> float:
        """Return seconds that ``_exit`` does not take by itself: its two deadlines, twice."""
        return 2 * (self._exit_timeout() + self._logs.exit_timeout) + 1

    def _exit_timeout(self) -> float:
        return self.settings.exit_timeout if self.settings is not None else 0.0

    def stats(self) -> dict[str, Any]:
        """Return the counters of this process; see ``obskit.stats``."""
        check_fork()
        return {
            "sampled_out": provider.sampled_out.value,
            "sampling": provider.sampling_stats(),
            "failures": failures.value,
            "exporters": self._spans.stats(),
            "logs": self._logs.stats(),
            "integrations": inventory(self._patches, self._imported),
            "profiler": {"state": "off"} if self._profiler is None else self._profiler.stats(),
        }


def _readable(span: Span) -> ReadableSpan:
    from obskit.export.otel import to_readable

    return to_readable(span, provider.resource)


runtime = Runtime()
