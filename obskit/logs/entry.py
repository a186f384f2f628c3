"""Converts a log record to a Cloud Logging entry: special fields that its agents read, and the application's fields.

Source: Cloud Logging's documentation of structured logging (special fields) and of Error Reporting's formats.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from logging import LogRecord
from time import time
from typing import Any

from obskit.base.failures import failed
from obskit.base.interruptions import let_through
from obskit.base.named_values import MASK
from obskit.base.patterns import pattern
from obskit.base.plain import Renderer
from obskit.base.redaction import Redactor
from obskit.base.values import error_text
from obskit.logs import access, insert_ids
from obskit.logs.events import unwrapped
from obskit.logs.moment import FIELDS, TRACE, note_served
from obskit.logs.served import ACCESS_LOGGERS
from obskit.tracing.current import FIELDS_KEY, get_context

_PREFIX = "logging.googleapis.com/"
_LABELS = _PREFIX + "labels"
INSERT_ID = _PREFIX + "insertId"
_INSERT_ID = f',"{INSERT_ID}":'
_OPERATION = _PREFIX + "operation"
_ENVIRONMENT = "deployment.environment.name"

_ERROR_EVENT = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"

_RESERVED = frozenset(
    ["severity", "message", "time", "timestamp", "timestampSeconds", "timestampNanos", "logger", "thread"]
).union(["stack_trace", "exception", "serviceContext", "context", "@type", "httpRequest", "truncated"])
"""Names with a meaning in an entry: an application's field with such a name gets an underscore appended."""

_SPECIAL_KEYS = frozenset(["labels", "operation", "insert_id", "http_request", "httpRequest", "json_fields"])
"""Keys of ``extra=`` that become special fields, with the names that google-cloud-logging uses."""

_BARE = vars(LogRecord("", 0, "", 0, "", (), None))
_LAST = next(reversed(_BARE))
_ANY_MESSAGE = LogRecord.getMessage

_RECORD = frozenset(["message", "asctime", "color_message", TRACE, FIELDS])
"""Attributes that formatters, uvicorn and obskit set on a record, and which are not the application's fields."""

_NO_FIELDS = _RECORD.union(_BARE)
_RECORD_SIZE = len(_BARE)
_WORDS = {bool: ("false", "true"), type(None): ("null", "")}
_MAX_STACK = 60_000
_LONG = 10_000
_MOST_QUICK = 40_000  # characters, of up to four bytes
_MOST_KEYS = 10_000
_MOST_FORMATS = 1_000
_NUMBER = pattern(r"%(?:[-+ 0]*\d*(?:\.\d+)?[dif]|%)")
_ORDINARY, _SECRET, _SPECIAL = range(3)


class EntryBuilder:
    """Builds entries for one process, whose service, project and secret names it knows."""

    def __init__(
        self,
        service: str = "",
        version: str | None = None,
        project: str | None = None,
        redactor: Redactor | None = None,
        environment: str | None = None,
    ) -> None:
        self._reports_errors = bool(service or version)
        self.origin = _origin(service, version, environment)
        self.trace_prefix = ""
        self.set_project(project)
        self._redactor = redactor or Redactor()
        self._keys: dict[str, tuple[int, str]] = {}
        self._ordinary: dict[str, str] = {}  # keys as they are written in a line
        self._harmless: dict[str, bool] = {}  # by format

    def set_project(self, project: str | None) -> None:
        """Set the Google Cloud project of the traces that entries link to."""
        if project:
            self.trace_prefix = f"projects/{project}/traces/"

    def quick(self, record: logging.LogRecord, known: dict[str, Any]) -> str:
        """Return the end of a record's line, without the closing brace; empty for a record that needs ``read``.

        This is a fast path: most records have a short message and a few plain fields, and writing them as text takes
        half the time of collecting and encoding values. Records of another class than logging's own are left to
        ``read``, since their attributes and message may be computed. So are those of servers' access loggers and those
        that get fields of ``log_context``, which the caller knows.

        ``known`` is ``vars(record)``: a dict look-up takes a quarter of the time of an attribute.
        """
        message = known["msg"]
        if type(message) is not str or known["exc_info"] or known["exc_text"] or known["stack_info"]:
            return ""
        if type(record) is not LogRecord or LogRecord.getMessage is not _ANY_MESSAGE:
            return ""
        try:
            args, harmless = known["args"], False
            if args:
                found = self._harmless.get(message)
                harmless = self._is_harmless(message) if found is None else found
                message = message % args
            # Does it have only logging's own attributes? (``next(reversed(known))`` would take 50 % longer.)
            bare = len(known) == _RECORD_SIZE and known.__reversed__().__next__() == _LAST
            if len(message) > _LONG or not message.isascii():
                return ""
            fields = "" if bare else self._fields(known)
            if fields is None:
                return ""
            shown = quoted(message if harmless else self._redactor.text(message))
            line = f'{_INSERT_ID}"{insert_ids.new()}","message":{shown}{fields}'
            known["message"] = message  # as logging.Formatter.format does: later handlers may read it
            return line if len(line) < _MOST_QUICK else ""
        except Exception:  # wrong arguments, a __str__ that raises, an integer of more digits than Python writes
            let_through()
            return ""

    def _is_harmless(self, template: str) -> bool:
        """Return whether messages of a format need no search: it takes only numbers, and has no secret's name."""
        if len(self._harmless) >= _MOST_FORMATS:
            return False
        found = "%" not in _NUMBER.sub("", template) and not self._redactor.may_mask(template)
        self._harmless[template] = found
        return found

    def _fields(self, known: dict[str, Any]) -> str | None:
        """Return a record's fields as they are written in a line; None if one of them needs ``read``."""
        text = ""
        names = self._ordinary
        for key, value in reversed(known.items()):  # from the end, as logging's own come first
            name = names.get(key)
            if name is None:
                if key == _LAST:
                    return text
                if key in _RECORD and key != FIELDS:
                    continue
                return None
            kind = type(value)
            if kind is int:
                text = f"{name}{value}{text}"
            elif kind is str and value.isalnum():
                text = f'{name}"{value}"{text}'
            elif kind is str and len(value) < _LONG and value.isascii():
                text = f"{name}{quoted(self._redactor.text(value))}{text}"
            elif kind in _WORDS:
                text = f"{name}{_WORDS[kind][bool(value)]}{text}"
            elif kind is float and value - value == 0.0:  # JSON has neither infinity nor NaN
                text = f"{name}{value}{text}"
            else:
                return None
        return None

    def read(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return a record's message, application's fields and stack as plain values, the message first."""
        entry: dict[str, Any] = {}
        renderer = Renderer(self._redactor)
        note_served(record)
        if type(record.msg) is not str:
            record = unwrapped(record)
        message = record.msg
        if record.args or not issubclass(type(message), Mapping):
            entry["message"] = self._message(record, renderer)
        else:
            fields = dict(renderer.items(message))
            entry["message"] = record.message = renderer.as_text(fields.pop("message", ""))
            self._add_fields(entry, fields.items(), renderer)
        known = vars(record)
        scope: Any = known.get(FIELDS) if TRACE in known else get_context().get(FIELDS_KEY)
        if scope:
            self._add_fields(entry, scope.items(), renderer)
        self._add_fields(entry, [(key, value) for key, value in known.items() if key not in _NO_FIELDS], renderer)
        if record.exc_info or record.exc_text or record.stack_info:
            self._add_stack(entry, record)
        if record.name in ACCESS_LOGGERS:
            entry["message"] = access.without_paint(entry["message"])
            request = access.of_record(record)
            if request is not None:
                entry["httpRequest"] = request
        if renderer.truncated:
            entry["truncated"] = True
        return entry

    def _message(self, record: logging.LogRecord, renderer: Renderer) -> str:
        try:
            record.message = record.getMessage()
            return renderer.as_text(record.message)
        except Exception as error:  # wrong arguments, a __str__ that raises: show the parts
            let_through()
            text = Renderer().as_text(record.msg)
            shown = renderer.as_text(text)
            arguments = renderer.as_text(record.args) if shown == text else MASK  # arguments may be what was masked
            return f"{shown} {arguments} [not formatted: {type(error).__name__}]"

    def _add_stack(self, entry: dict[str, Any], record: logging.LogRecord) -> None:
        """Add the stack as Python's traceback text, by which Error Reporting groups errors."""
        # Masked before it is cut, as cutting may separate a name from its secret.
        whole = self._redactor.error_text(_stack_text(record))
        stack = _without_middle(whole)
        if not stack:  # ``logging.exception`` outside of an except block
            return
        entry["stack_trace"] = stack
        if stack is not whole:
            entry["truncated"] = True
        if record.levelno >= logging.ERROR and self._reports_errors and not record.exc_info:
            entry["@type"] = _ERROR_EVENT

    def _add_fields(self, entry: dict[str, Any], fields: Iterable[tuple[Any, Any]], renderer: Renderer) -> None:
        """Add the application's fields, masked if secret, and renamed if their names have another meaning."""
        for key, value in fields:
            kind, name = (type(key) is str and self._keys.get(key)) or self._classify(key)
            if kind == _ORDINARY:
                entry[name] = renderer.plain(value)
            elif kind == _SECRET:
                entry[name] = renderer.under(name, value)
            elif kind == _SPECIAL:
                self._add_special(entry, name, value, renderer)

    def _classify(self, key: Any) -> tuple[int, str]:
        """Return the kind of a field by its key, and its name in the entry; both are cached."""
        name = Renderer(self._redactor).as_text(key)
        if name in _SPECIAL_KEYS:
            kind = _SPECIAL
        else:
            kind = _SECRET if self._redactor.is_secret(name) else _ORDINARY
            if name in _RESERVED or name.startswith(_PREFIX):
                name += "_"
        if type(key) is str and len(self._keys) < _MOST_KEYS:
            self._keys[key] = kind, name
            if kind == _ORDINARY and name == key and key.isascii() and key not in _NO_FIELDS:
                self._ordinary[key] = f",{quoted(key)}:"
        return kind, name

    def _add_special(self, entry: dict[str, Any], key: str, value: Any, renderer: Renderer) -> None:
        if key == "json_fields" and issubclass(type(value), Mapping):
            self._add_fields(entry, renderer.items(value), renderer)
        elif key == "labels" and issubclass(type(value), Mapping):
            labels = renderer.plain(value)
            entry[_LABELS] = {name: item if isinstance(item, str) else str(item) for name, item in labels.items()}
        elif key in ("http_request", "httpRequest"):
            entry["httpRequest"] = renderer.plain(value)
        elif key == "operation":
            entry[_OPERATION] = renderer.plain(value)
        elif key == "insert_id":
            entry[INSERT_ID] = renderer.as_text(value)
        else:
            entry[key] = renderer.under(key, value)


def _origin(service: str, version: str | None, environment: str | None) -> str:
    """Return the fields that all entries of a process share, as written in a line."""
    context = ",".join(
        f"{quoted(key)}:{quoted(value)}" for key, value in (("service", service), ("version", version)) if value
    )
    text = f',"serviceContext":{{{context}}}' if context else ""
    return text + (f',"{_ENVIRONMENT}":{quoted(environment)}' if environment else "")


def formatted_completed(record: LogRecord, line: Callable[[LogRecord], str]) -> str | None:
    """Return the line of a record from which a filter has removed attributes; else log a failure, return None."""
    try:
        whole = _completed(record)
        if whole is not None:
            return line(whole)
    except Exception:
        failed("completing a log record")
    failed("formatting a log record")
    return None


def not_formatted(record: LogRecord) -> str:
    """Return the message for a record that could not be formatted."""
    return f"[not formatted: {type(getattr(record, 'msg', None)).__name__}]"


def _completed(record: LogRecord) -> LogRecord | None:
    """Return a copy of ``record`` with the attributes that a filter has removed; None if it has all of them."""
    known = vars(record)
    if _BARE.keys() <= known.keys():
        return None
    copy = object.__new__(type(record))
    vars(copy).update({**_BARE, "created": time(), **known})
    return copy


def _without_middle(stack: str) -> str:
    """Return a stack; if it is long, without its middle, since the error is at its end."""
    if len(stack) <= _MAX_STACK:
        return stack
    left_out = f"\n...[{len(stack) - _MAX_STACK} characters left out]...\n"
    return stack[: _MAX_STACK // 4] + left_out + stack[-(_MAX_STACK - _MAX_STACK // 4) :]


def _stack_text(record: logging.LogRecord) -> str:
    """Return a record's traceback in the form of ``traceback.format_exc``, then its stack if it has one."""
    parts = []
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        parts.append(_traceback_text(record.exc_info))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _traceback_text(exc_info: Any) -> str:
    try:
        return "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    except Exception as error:  # the interpreter is ending: it finds no lines of source any more
        let_through()
        return f"[traceback not formatted: {type(error).__name__}]\n{error_text(exc_info[1])}"
