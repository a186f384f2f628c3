"""structlog: a processor that adds the trace, and a renderer that writes Cloud Logging's JSON.

``structlog.configure(processors=[..., CloudLoggingRenderer()])`` is enough; ``add_trace`` is for use with another
renderer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from obskit.base.failures import failed
from obskit.logs.context import current_trace
from obskit.logs.events import RenderedLine, exc_info, level_number, to_record
from obskit.logs.formatter import CloudLoggingFormatter

EventDict = MutableMapping[str, Any]

_beyond_ascii = re.compile(r"[^\x00-\x7f]+").sub


def add_trace(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add ``trace_id``, ``span_id`` and ``trace_sampled`` of the current span, if there is one."""
    trace = current_trace()
    if trace is not None:
        event.update(trace._asdict())
    return event


class CloudLoggingRenderer:
    """Renders an event as one line of strict JSON, as ``CloudLoggingFormatter`` does a log record.

    ``event``, ``level``, ``logger``, ``exc_info`` and the parameters of CallsiteParameterAdder become special fields.
    structlog's own loggers have no name: bind one as ``logger``, or use the standard library's loggers. The line is
    ASCII, like that of structlog's JSONRenderer, as not every stream accepts other characters.
    """

    def __init__(self, formatter: CloudLoggingFormatter | None = None) -> None:
        self._formatter = formatter or CloudLoggingFormatter()

    def __call__(self, logger: Any, method: str, event: EventDict) -> str | bytes:
        """Return the line; bytes for a BytesLogger. Never raises."""
        try:
            fields = {**event, "exc_info": exc_info(event.get("exc_info"))}
            line = RenderedLine(_ascii(self._formatter.format(_to_record(fields, logger, method))))
            line.event = fields
        except Exception:
            failed("rendering an event of structlog's")
            line = RenderedLine('{"severity":"DEFAULT","message":"[not rendered]"}')
            line.event = {"event": "[not rendered]"}
        return line.encode() if type(logger).__name__ == "BytesLogger" else line


def _to_record(event: EventDict, logger: Any, method: str) -> logging.LogRecord:
    fields = dict(event)
    name = fields.get("logger") or getattr(logger, "name", None)
    attributes = {
        "levelno": level_number(fields.get("level_number", fields.get("level")), method),
        "name": name if isinstance(name, str) and name else "structlog",
        "pathname": fields.pop("pathname", None) or fields.pop("filename", ""),
        "lineno": fields.pop("lineno", 0),
        "funcName": fields.pop("func_name", None),
    }
    return to_record(fields, attributes)


def _ascii(line: str) -> str:
    return line if line.isascii() else _beyond_ascii(lambda found: quoted(found[0])[1:-1], line)
