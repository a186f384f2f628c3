"""Writing lines to standard output, and telling which handlers do so too."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from typing import Any

from obskit.tracing.tally import Tally

_last = threading.local()
_others_write = False
written, lost = Tally(), Tally()


def writes_to_console(handler: logging.Handler) -> bool:
    """Return whether ``handler`` writes to the process's standard output or error."""
    stream = getattr(handler, "stream", None) if isinstance(handler, logging.StreamHandler) else None
    return stream is not None and (
        stream is sys.stdout or stream is sys.stderr or stream is sys.__stdout__ or stream is sys.__stderr__
    )


def note_written(record: logging.LogRecord) -> None:
    """Remember that a handler of the application's has just written ``record`` on this thread."""
    global _others_write  # noqa: PLW0603 - most programs have no such handler, and need not ask each thread
    _last.record = record
    _others_write = True


class ConsoleHandler(logging.Handler):
    """Writes each record to standard output, unless a handler of the application's does.

    It writes as ``print`` does: a reader that is slow slows the program, and nothing is lost. Where standard output
    is closed or its reader is gone, lines are counted as lost and the program goes on.
    """

    _stream: Any = None
    _raw: io.RawIOBase | None = None

    def handle(self, record: logging.LogRecord) -> Any:
        """Write one line, unless a filter objects. Never raises."""
        if self.filters or self.lock is None:
            return super().handle(record)
        with self.lock:
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. Never raises."""
        if _others_write and getattr(_last, "record", None) is record:
            return
        if len(logging.root.handlers) > 1 and _has_twin():
            return
        try:
            formatter = self.formatter
            line = (self.format(record) if formatter is None else formatter.format(record)) + "\n"
            stream = sys.stdout
            if stream is not self._stream:
                self._stream, self._raw = stream, _find_raw(stream)
            if self._raw is None:
                _write_text(stream, line)
            else:
                _write_raw(stream, self._raw, line)
            written.add()
        except Exception:
            lost.add()


def _find_raw(stream: Any) -> io.RawIOBase | None:
    """Return what is below the buffers of ``stream``; None for a stream that is not such as ``sys.stdout`` was."""
    if type(stream) is not io.TextIOWrapper or "{".encode(stream.encoding) != b"{":  # as with a byte order mark
        return None
    raw = getattr(stream.buffer, "raw", stream.buffer)  # with python -u there is no other buffer
    return raw if isinstance(raw, io.RawIOBase) else None


def _write_raw(stream: Any, raw: io.RawIOBase, line: str) -> None:
    """Write ``line`` behind what was printed before.

    Past the buffers: a line that cannot be written would stay there, and fail again when the interpreter ends, which
    then reports it and exits with status 120.
    """
    data = line.encode() if line.isascii() else _encoded(line, stream)
    stream.flush()
    taken = raw.write(data)
    if taken != len(data):  # a signal came, or standard output does not block
        stream.buffer.write(data[taken or 0 :])
        stream.flush()


def _write_text(stream: Any, line: str) -> None:
    try:
        stream.write(line)
    except UnicodeEncodeError:
        stream.write(_ascii(line))
    stream.flush()


def _encoded(line: str, stream: Any) -> bytes:
    try:
        return line.encode(stream.encoding, stream.errors)
    except UnicodeEncodeError:
        return _ascii(line).encode()


def _has_twin() -> bool:
    """Return whether the root logger has a handler of the application's that writes to standard output or error."""
    return any(writes_to_console(one) for one in logging.root.handlers if not isinstance(one, ConsoleHandler))


def _ascii(line: str) -> str:
    try:
        return json.dumps(json.loads(line)) + "\n"
    except ValueError:
        return line.encode("ascii", "backslashreplace").decode()
