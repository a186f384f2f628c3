"""Applies the log options to the process, and undoes that.

Handlers that write to standard output or error keep their logger, level and filters; only the format of their lines
changes to obskit's, however and whenever they are configured. Other handlers are left alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, Any

from obskit.base.records import NamedTuple
from obskit.base.redaction import Redactor
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.server_exchange import on_finish
from obskit.logs import uncaught
from obskit.logs.access import log_request
from obskit.logs.basic_config import run_within
from obskit.logs.entry import EntryBuilder
from obskit.logs.events import unwrapped
from obskit.logs.formatter import CloudLoggingFormatter, share_builder
from obskit.logs.frames import like_loggings
from obskit.logs.handler import ConsoleHandler, share_formatter, ship_to
from obskit.logs.moment import filter_noting, waiting_handlers
from obskit.logs.project import find_project
from obskit.logs.take_over import TakeOver
from obskit.logs.writer import lost, written

if TYPE_CHECKING:
    from obskit.export.delivery.pipeline import Limits, Pipeline
    from obskit.logs.cloud.handler import CloudLoggingHandler
    from obskit.logs.shipping import LineShipper


class _Level(int):
    """A level that can be told from an equal one that the application sets."""


_RAISED = _Level(logging.INFO)


class LogOptions(NamedTuple):
    """The settings for logs; see ``settings.OPTIONS``. ``exit_timeout`` (seconds) is for ``cloud``."""

    mode: str
    service: str
    version: str | None
    project: str | None
    mask_keys: tuple[str, ...]
    request_log: bool
    exit_timeout: float
    environment: str | None = None
    collector: str | None = None
    limits: Limits | None = None


class LogSetup:
    """Applies log options, and keeps what it changed so that it can be undone."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._hooks = ImportHooks()
        self._applied: LogOptions | None = None
        self._cloud: CloudLoggingHandler | None = None
        self._shipper: LineShipper | None = None
        self._retired: list[Pipeline] = []
        self._root_handler: logging.Handler | None = None

    @property
    def pipelines(self) -> list[Pipeline]:
        """Return the pipelines that may hold undelivered log entries."""
        return [*(one.pipeline for one in (self._cloud, self._shipper) if one is not None), *self._retired]

    @property
    def exit_timeout(self) -> float:
        """Return how many seconds the program's exit may wait for entries."""
        return 0.0 if self._applied is None else self._applied.exit_timeout

    def stats(self) -> dict[str, Any]:
        """Return the lines written and lost since the process began, and the counts of deliveries, if any."""
        found: dict[str, Any] = {"written": written.value, "lost": lost.value}
        if self._cloud is not None:
            found["cloud"] = self._cloud.pipeline.stats()
        if self._shipper is not None:
            found["collector"] = self._shipper.pipeline.stats()
        if self._retired:
            found["retired"] = [pipeline.stats() for pipeline in self._retired]
        return found

    def apply(self, options: LogOptions) -> None:
        """Apply ``options``, after undoing earlier ones. The same options again change nothing."""
        closed = any(pipeline.closed for pipeline in self.pipelines if pipeline not in self._retired)  # set by shutdown
        if options == self._applied and not closed:
            return
        self.remove()
        self._applied = options
        masked = Redactor(options.mask_keys)
        builder = EntryBuilder(options.service, options.version, options.project, masked, options.environment)
        share_builder(builder)
        if not options.project and options.mode == "json":
            find_project(builder, os.environ)
        if options.mode == "inherit":
            self._add_trace_fields()
        elif options.mode == "cloud":
            self._send_to_cloud(options)
        elif options.mode != "off":
            self._take_over(CloudLoggingFormatter() if options.mode == "json" else _console_formatter())
        self._ship(options)
        if options.request_log and options.mode != "off":
            on_finish(log_request)
            self._undo.append(lambda: on_finish(None))

    def remove(self) -> None:
        """Undo everything, last first."""
        patience, self._applied = self.exit_timeout, None
        self._hooks.remove()
        while self._undo:
            self._undo.pop()()
        self._retire(monotonic() + patience)

    def _retire(self, deadline: float) -> None:
        """Detach the senders to the cloud and to a collector, but keep track of them until they are empty."""
        handler, self._cloud = self._cloud, None
        shipper, self._shipper = self._shipper, None
        self._retired = [pipeline for pipeline in self._retired if pipeline.busy]
        if handler is not None:
            handler.begin_close()
            self._retired.append(handler.pipeline)
        if shipper is not None:
            shipper.pipeline.begin_close(deadline)
            self._retired.append(shipper.pipeline)

    def _add_root_handler(self, handler: logging.Handler) -> None:
        """Add a handler to the root logger, and set level INFO until the application configures logging."""
        root = logging.getLogger()
        self._root_handler = handler
        root.addHandler(handler)
        self._raise_level(root)
        configuring: Any = logging.basicConfig
        self._undo.append(run_within(configuring, self._aside))
        self._hooks.when_imported("logging.config", self._watch_configuration)
        self._undo.append(lambda: self._step_back(root))

    def _watch_configuration(self, module: ModuleType) -> None:
        for function in (module.dictConfig, module.fileConfig):
            self._undo.append(run_within(function, self._level_aside))

    def _raise_level(self, root: logging.Logger) -> None:
        if root.handlers == [self._root_handler] and root.level == logging.WARNING:
            root.setLevel(_RAISED)

    def _lower_level(self, root: logging.Logger) -> None:
        if root.level is _RAISED:
            root.setLevel(logging.WARNING)

    def _step_back(self, root: logging.Logger) -> None:
        if self._root_handler is not None:
            root.removeHandler(self._root_handler)
        self._lower_level(root)

    @contextmanager
    def _level_aside(self) -> Iterator[None]:
        """Restore the root logger's own level during a configuration, which may not set one."""
        root = logging.getLogger()
        self._lower_level(root)
        try:
            yield
        finally:
            self._raise_level(root)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Remove the handler during a configuration that examines the root logger's, then add it after those."""
        root, ours = logging.getLogger(), self._root_handler
        here = ours is not None and ours in root.handlers
        with self._level_aside():
            if here and ours is not None:
                root.removeHandler(ours)
            try:
                yield
            finally:
                if here and ours is not None:
                    root.addHandler(ours)

    def _take_over(self, formatter: logging.Formatter) -> None:
        share_formatter(formatter)
        self._undo.append(lambda: share_formatter(None))
        self._set(logging.Handler, "format", TakeOver(logging.Handler.format, formatter))
        self._hooks.when_imported("logging.handlers", self._note_moments)
        handler = ConsoleHandler()
        handler.yields = True
        handler.setFormatter(formatter)
        self._add_root_handler(handler)
        uncaught.install()
        self._undo.append(uncaught.remove)

    def _note_moments(self, module: ModuleType) -> None:
        for owner in waiting_handlers(module):
            self._set(owner, "filter", like_loggings(filter_noting))
        original = module.QueueHandler.prepare

        def prepare(handler: Any, record: logging.LogRecord) -> Any:
            return original(handler, unwrapped(record))

        self._set(module.QueueHandler, "prepare", like_loggings(prepare))

    def _send_to_cloud(self, options: LogOptions) -> None:
        from obskit.logs.cloud.handler import CloudLoggingHandler

        handler = CloudLoggingHandler(
            options.service, options.version, options.project, exit_timeout=options.exit_timeout
        )
        self._cloud = handler
        self._add_root_handler(handler)
        uncaught.install()
        self._undo.append(uncaught.remove)

    def _ship(self, options: LogOptions) -> None:
        """Also send the console's lines to a collector; if obskit does not format them, send the loggers' records."""
        if options.collector is None or options.limits is None or options.mode == "off":
            return
        from obskit.logs.shipping import LineShipper

        self._shipper = LineShipper(options.collector, options.service, options.limits)
        take = self._shipper.take
        if options.mode in ("json", "console"):
            ship_to(take)
            self._undo.append(lambda: ship_to(None))
            return
        call_handlers = logging.Logger.callHandlers

        def handing_on(logger: logging.Logger, record: logging.LogRecord) -> None:
            call_handlers(logger, record)
            take(record)

        self._set(logging.Logger, "callHandlers", like_loggings(handing_on))

    def _add_trace_fields(self) -> None:
        """Set ``trace_id``, ``span_id`` (empty outside a trace) and ``trace_sampled`` on every record.

        This includes records of ``logging.makeLogRecord``; values in ``extra=`` are kept.
        """
        from obskit.logs.inherit import adding_factory, adding_maker

        factory, make = logging.getLogRecordFactory(), logging.Logger.makeRecord
        ours = adding_factory(factory)
        logging.setLogRecordFactory(ours)

        def restore() -> None:
            if logging.getLogRecordFactory() is ours:
                logging.setLogRecordFactory(factory)

        self._undo.append(restore)
        self._set(logging.Logger, "makeRecord", adding_maker(make))

    def _set(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace an attribute of a class until ``remove``."""
        absent = object()
        original = vars(owner).get(name, absent)
        setattr(owner, name, replacement)

        def restore() -> None:
            if vars(owner).get(name) is not replacement:
                return
            if original is absent:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

        self._undo.append(restore)


def _console_formatter() -> logging.Formatter:
    from obskit.logs.console import ConsoleFormatter

    return ConsoleFormatter()
