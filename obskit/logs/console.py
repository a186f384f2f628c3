"""Log lines for people: time, level, logger, message, fields, and the end of the trace id."""

from __future__ import annotations

import logging
import os
import re
import sys
from time import localtime, strftime
from typing import Any

from obskit.base.interruptions import let_through
from obskit.base.plain import plain
from obskit.instrumentation.server import keep_latest
from obskit.logs.context import current_trace
from obskit.logs.entry import INSERT_ID, EntryBuilder, formatted_completed, not_formatted
from obskit.logs.formatter import shared_builder
from obskit.logs.moment import TRACE

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_DIM = "2"
_UNSAFE = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_STACK_SAFE = {number: text for number, text in _UNSAFE.items() if number not in (9, 10)}
_PAINT = re.compile(r"\x1b\[[0-9;:]*m")  # SGR sequences of ECMA-48: colours and other text attributes


class ConsoleFormatter(logging.Formatter):
    """A readable line a record, coloured if standard output is a terminal and NO_COLOR is not set."""

    def __init__(
        self, *_format: Any, builder: EntryBuilder | None = None, colour: bool | None = None, **_options: Any
    ) -> None:
        """Accept, and ignore, the arguments that ``logging.config`` passes: a format, a style and so on."""
        super().__init__()
        keep_latest()  # as in CloudLoggingFormatter
        self._builder = next((given for given in _format if isinstance(given, EntryBuilder)), builder)
        self._colour = _wants_colour() if colour is None else colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it. Never raises."""
        try:
            return self._line(record)
        except Exception:
            let_through()
            return formatted_completed(record, self.format) or not_formatted(record)

    def _line(self, record: logging.LogRecord) -> str:
        entry = (self._builder or shared_builder()).read(record)
        message, stack = entry.pop("message"), entry.pop("stack_trace", "")
        clock = f"{strftime('%H:%M:%S', localtime(record.created))}.{int(record.msecs):03d}"
        level = _one_line(record.levelname)
        level = self._paint(f"{level:<8}", _COLOURS.get(level, ""))
        fields = " ".join(f"{_name(key)}={_shown(value)}" for key, value in entry.items() if key not in _HIDDEN)
        known = vars(record)
        trace = known[TRACE] if TRACE in known else current_trace()
        tail = self._paint(f"{fields} trace={trace[0][-8:]}".strip() if trace else fields, _DIM)
        line = f"{clock} {level} {_one_line(record.name)}: {_one_line(message)} {tail}".rstrip()
        return f"{line}\n{plain(stack).translate(_STACK_SAFE)}" if stack else line

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code and text else text


_HIDDEN = frozenset(["serviceContext", "@type", INSERT_ID])


def _one_line(text: object) -> str:
    """Return ``text`` without colour sequences, and with all other control characters escaped."""
    return _PAINT.sub("", plain(str(text))).translate(_UNSAFE)


def _name(key: str) -> str:
    return _shown(key.removeprefix("logging.googleapis.com/"))


def _shown(value: Any) -> str:
    value = plain(value)  # huge integers and lone surrogates, which msgspec refuses
    return (repr(value) if isinstance(value, str) and " " in value else str(value)).translate(_UNSAFE)


def _wants_colour() -> bool:
    return not os.environ.get("NO_COLOR") and bool(getattr(sys.stdout, "isatty", lambda: False)())
