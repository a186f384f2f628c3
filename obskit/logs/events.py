"""Converts structlog's events to log records, whether they come from obskit's renderer or ``ProcessorFormatter``."""

from __future__ import annotations

import copy
import logging
import sys
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any

from obskit.base.failures import raised
from obskit.base.interruptions import let_through
from obskit.logs.frames import like_loggings

_LEVELS = {"trace": 5, "debug": 10, "info": 20, "msg": 20, "notice": 25, "success": 25, "warn": 30, "warning": 30}
_LEVELS |= {"error": 40, "err": 40, "exception": 40, "failure": 40, "critical": 50, "fatal": 50, "alert": 60}
_LEVELS |= {"emergency": 70}
_INTERNAL = ("_record", "_from_structlog", "level", "level_number", "logger", "timestamp")
_MESSAGES = ("event", "message", "msg")
"""The keys of an event's text: structlog's own first, then those that EventRenamer is used for."""

_OURS = ("structlog", "obskit.logs")
_CAUSE = "\n\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\n\nDuring handling of the above exception, another exception occurred:\n\n"


class RenderedLine(str):
    """A rendered line with its event. If it is a record's message, the event is formatted, not the line."""

    __slots__ = ("event",)
    event: dict[str, Any]


def unwrapped(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record whose message is a structlog event as one with message, fields and exception."""
    known, message = vars(record), record.msg
    if type(message) is RenderedLine:
        return to_record(message.event, known)
    if type(message) is dict and "_logger" in known and "_name" in known:  # as wrap_for_formatter leaves it
        return to_record(message, _attributes(record))
    return record


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in ("_logger", "_name")}


def _processed(formatter: Any, record: logging.LogRecord) -> logging.LogRecord:
    """Run the processors of the program's own ProcessorFormatter except the last, which renders; return the record.

    They may add fields (bound ones, a request's), rename or mask some.
    """
    if formatter is None or type(formatter) is logging.Formatter or not hasattr(formatter, "foreign_pre_chain"):
        return record
    events: list[Any] = []

    def catch(_logger: Any, _method: str, event: Any) -> str:
        events.append(event)
        return ""

    try:
        twin = copy.copy(formatter)
        twin.processors = (*formatter.processors[:-1], catch)
        twin.format(record)
        return to_record(events[0], _attributes(record))
    except Exception:  # a processor raised, or one before the last has rendered
        raised("a processor of structlog's ProcessorFormatter")
        return record


def to_record(event: Mapping[str, Any], attributes: Mapping[str, Any]) -> logging.LogRecord:
    """Return an event as a record with ``attributes``, which tell where it was logged."""
    fields = {key: value for key, value in event.items() if key not in _INTERNAL}
    exception = fields.pop("exception", None)
    text = exception if isinstance(exception, str) else _structured_text(exception)
    if text is not exception:
        fields["exception"] = exception
    stack, wanted = fields.pop("stack", None), fields.pop("stack_info", None)
    parts = {
        "msg": "%s",
        "args": (next((fields.pop(key) for key in _MESSAGES if key in fields), ""),),
        "exc_info": exc_info(fields.pop("exc_info", None)) or attributes.get("exc_info"),
        "exc_text": text or attributes.get("exc_text"),
        "stack_info": stack or (_stack() if wanted is True else wanted) or attributes.get("stack_info"),
    }
    fields |= attributes.get("json_fields", {})
    return logging.makeLogRecord({**attributes, **parts, "json_fields": fields})


def level_number(given: Any, method: str) -> int:
    """Return the number of an event's ``level``, a name or number; without one, the level of its method."""
    if isinstance(given, int):
        return int(given)
    for name in (str(given), method):
        if name.isdecimal():
            return int(name)
        number = _LEVELS.get(name.lower(), logging.getLevelName(name.upper()))
        if isinstance(number, int):
            return number
    return logging.INFO


def exc_info(given: Any) -> Any:
    """Return structlog's ``exc_info`` (an exception, a tuple, any true value) as logging's tuple."""
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return given if len(given) == 3 and given[0] is not None else None
    found = sys.exc_info() if given else (None,)
    return found if found[0] is not None else None


def _stack() -> str:
    """Return the stack of the caller, without the frames of structlog and obskit."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_OURS):
        frame = frame.f_back
    return "Stack (most recent call last):\n" + "".join(traceback.format_stack(frame)).rstrip("\n")


def _structured_text(exception: Any) -> str | None:
    """Return the output of structlog's ``dict_tracebacks`` in the form of Python's traceback; None for other values."""
    try:
        texts = []
        for stack in reversed(exception):  # the last one first
            lines = ['  File "{filename}", line {lineno}, in {name}'.format(**frame) for frame in stack["frames"]]
            last = f"{stack['exc_type']}: {stack['exc_value']}"
            texts.append("\n".join(["Traceback (most recent call last):", *lines, last, *stack.get("exc_notes", ())]))
            texts.append(_CAUSE if stack["is_cause"] else _CONTEXT)
        return "".join(texts[:-1]) or None
    except Exception:  # another structure, from a processor of the program
        let_through()
        return None


processed = like_loggings(_processed)
