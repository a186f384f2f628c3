"""Taking over what the process logs, and giving it back.

Handlers that write to standard output or error keep their place, level and filters; only the form of their lines
becomes ours, wherever and whenever they are configured. Other handlers are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.server import on_finish
from obskit.logs import uncaught
from obskit.logs.console import ConsoleFormatter
from obskit.logs.correlation import current_trace
from obskit.logs.entry import EntryBuilder
from obskit.logs.events import processed, unwrapped
from obskit.logs.formatter import CloudLoggingFormatter, share_builder
from obskit.logs.handler import ConsoleHandler, lost, note_written, writes_to_console, written
from obskit.logs.requests import log_request
from obskit.tracing.redaction import Redactor

if TYPE_CHECKING:
    from obskit.export.pipeline import Pipeline
    from obskit.logs.cloud.handler import CloudLoggingHandler

_Format = Callable[[logging.Handler, logging.LogRecord], str]


class LogOptions(NamedTuple):
    """What of the settings concerns logs; see ``settings.OPTIONS``. ``exit_timeout`` is for ``cloud``, in seconds."""

    mode: str
    service: str
    version: str | None
    project: str | None
    mask_keys: tuple[str, ...]
    request_log: bool
    exit_timeout: float


class LogSetup:
    """What the log options changed, so that it can be undone."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._hooks = ImportHooks()
        self._applied: LogOptions | None = None
        self._cloud: CloudLoggingHandler | None = None
        self._retired: list[CloudLoggingHandler] = []

    @property
    def pipelines(self) -> list[Pipeline]:
        """What may hold log entries that are not delivered yet."""
        handlers = self._retired if self._cloud is None else [self._cloud, *self._retired]
        return [handler.pipeline for handler in handlers]

    @property
    def exit_timeout(self) -> float:
        """The seconds for which the end of the program may wait for entries."""
        return 0.0 if self._applied is None else self._applied.exit_timeout

    def stats(self) -> dict[str, Any]:
        """Return the lines written and lost since the process began, and the API's ledgers where there are any."""
        found: dict[str, Any] = {"written": written.value, "lost": lost.value}
        if self._cloud is not None:
            found["cloud"] = self._cloud.pipeline.stats()
        if self._retired:
            found["retired"] = [handler.pipeline.stats() for handler in self._retired]
        return found

    def apply(self, options: LogOptions) -> None:
        """Apply ``options``; what was applied before is undone first, the same ones again change nothing."""
        closed = self._cloud is not None and self._cloud.pipeline.closed  # by a shutdown: it takes nothing more
        if options == self._applied and not closed:
            return
        self.remove()
        self._applied = options
        share_builder(EntryBuilder(options.service, options.version, options.project, Redactor(options.mask_keys)))
        if options.mode == "inherit":
            self._add_trace_fields()
        elif options.mode == "cloud":
            self._send_to_cloud(options)
        elif options.mode != "off":
            self._take_over(CloudLoggingFormatter() if options.mode == "json" else ConsoleFormatter())
        if options.request_log and options.mode != "off":
            on_finish(log_request)
            self._undo.append(lambda: on_finish(None))

    def remove(self) -> None:
        """Undo everything, last first."""
        self._applied = None
        self._hooks.remove()
        while self._undo:
            self._undo.pop()()
        self._retire()

    def _retire(self) -> None:
        """Let the handler go that sends to the cloud, but not out of sight before it is empty."""
        handler, self._cloud = self._cloud, None
        self._retired = [one for one in self._retired if one.pipeline.busy]
        if handler is not None:
            handler.retire()
            self._retired.append(handler)

    def add_root_handler(self, handler: logging.Handler) -> None:
        """Add a handler to the root logger, and let INFO through where nobody configured logging."""
        root = logging.getLogger()
        if not root.handlers and root.level == logging.WARNING:
            root.setLevel(logging.INFO)
            self._undo.append(lambda: root.setLevel(logging.WARNING))
        root.addHandler(handler)
        self._undo.append(lambda: root.removeHandler(handler))

    def _take_over(self, formatter: logging.Formatter) -> None:
        original: _Format = logging.Handler.format

        def form(handler: logging.Handler, record: logging.LogRecord) -> str:
            if not writes_to_console(handler):
                return original(handler, record)
            note_written(record)
            return formatter.format(processed(handler.formatter, record))

        self._set(logging.Handler, "format", form)
        self._hooks.when_imported("logging.handlers", self._keep_trace_in_queues)
        handler = ConsoleHandler()
        handler.setFormatter(formatter)
        self.add_root_handler(handler)
        uncaught.install()
        self._undo.append(uncaught.remove)

    def _keep_trace_in_queues(self, module: ModuleType) -> None:
        """Note a record's trace where it is queued: it is written on another thread."""
        original = module.QueueHandler.prepare

        def prepare(handler: Any, record: logging.LogRecord) -> Any:
            trace = current_trace()
            if trace is not None:
                vars(record).setdefault("obskit_trace", tuple(trace))  # a plain tuple: queues may pickle
            return original(handler, unwrapped(record))

        self._set(module.QueueHandler, "prepare", prepare)

    def _send_to_cloud(self, options: LogOptions) -> None:
        from obskit.logs.cloud.handler import CloudLoggingHandler

        handler = CloudLoggingHandler(
            options.service, options.version, options.project, exit_timeout=options.exit_timeout
        )
        self._cloud = handler
        self.add_root_handler(handler)
        uncaught.install()
        self._undo.append(uncaught.remove)

    def _add_trace_fields(self) -> None:
        """Give every record ``trace_id``, ``span_id`` (empty outside a trace) and ``trace_sampled``."""
        original = logging.getLogRecordFactory()

        def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = original(*args, **kwargs)
            trace_id, span_id, sampled = current_trace() or ("", "", False)
            record.trace_id, record.span_id, record.trace_sampled = trace_id, span_id, sampled
            return record

        logging.setLogRecordFactory(factory)
        self._undo.append(lambda: logging.setLogRecordFactory(original))

    def _set(self, owner: Any, name: str, replacement: Any) -> None:
        original = getattr(owner, name)
        setattr(owner, name, replacement)

        def restore() -> None:
            if getattr(owner, name) is replacement:
                setattr(owner, name, original)

        self._undo.append(restore)
