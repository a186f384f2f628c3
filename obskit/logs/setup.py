"""Taking over what the process logs, and giving it back.

Handlers that write to standard output or error keep their place, level and filters; only the form of their lines
becomes ours, wherever and whenever they are configured. Other handlers are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from obskit.logs import uncaught
from obskit.logs.console import ConsoleFormatter
from obskit.logs.correlation import current_trace
from obskit.logs.formatter import CloudLoggingFormatter
from obskit.logs.handler import ConsoleHandler, note_written, writes_to_console

_Format = Callable[[logging.Handler, logging.LogRecord], str]


class LogSetup:
    """What ``logs=`` changed, so that it can be undone."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    def install(self, mode: str) -> None:
        """Apply ``json``, ``console``, ``inherit`` or ``off``; what was applied before is undone first."""
        self.remove()
        if mode == "inherit":
            self._add_trace_fields()
        elif mode in ("json", "console"):
            self._take_over(CloudLoggingFormatter() if mode == "json" else ConsoleFormatter())

    def remove(self) -> None:
        """Undo everything, last first."""
        while self._undo:
            self._undo.pop()()

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
            return formatter.format(record)

        self._set(logging.Handler, "format", form)
        handler = ConsoleHandler()
        handler.setFormatter(formatter)
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
