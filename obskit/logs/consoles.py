"""Finds the streams and handlers that write, directly or indirectly, to the process's standard output or error.

A handler whose ``emit`` and ``format`` are the standard library's can be taken over, since only the form of its lines
changes. Others are left alone, but a record that one of them writes must not be written a second time.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from types import FunctionType
from typing import Any

from obskit.logs.emitting import prints

_MOST_NESTED = 8
_standard_format = logging.Handler.format
_known: dict[int, tuple[weakref.ref[Any], bool]] = {}


def is_console(stream: Any) -> bool:
    """Return whether ``stream`` writes to the process's standard output or error."""
    if stream is None:
        return False
    if stream is sys.__stderr__ or stream is sys.__stdout__:
        return True
    known = _known.get(id(stream))
    return known[1] if known is not None and known[0]() is stream else _look_at(stream)


def _look_at(stream: Any) -> bool:
    """Compute ``is_console``, and cache the answer for the stream's lifetime."""
    found = is_same_file(stream, 1) or is_same_file(stream, 2)
    if not found and (stream is sys.stdout or stream is sys.stderr):
        found = is_given(stream)
    key = id(stream)
    with suppress(TypeError):  # its type does not support weak references
        _known[key] = weakref.ref(stream, lambda _: _known.pop(key, None)), found
    return found


def is_same_file(stream: Any, number: int) -> bool:
    """Return whether ``stream`` is the same file as descriptor ``number``, perhaps under another descriptor."""
    try:
        own = stream.fileno()
        return own == number or os.path.samestat(os.stat(own), os.fstat(number))
    except Exception:  # a stream may have no file, or an unrelated method of that name
        return False


class _Named:
    """Stands for a file that is not open yet: ``os.stat`` accepts a name as well as a descriptor."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fileno(self) -> str:
        return self._name


def is_given(stream: Any) -> bool:
    """Return whether ``sys.stdout`` is the process's own, rather than a replacement by the program.

    Its own is a file, or an object of a server that is not written in Python, such as mod_wsgi's. Replacements are
    buffers in memory, and objects that pass on what is printed to logging.
    """
    try:
        os.fstat(stream.fileno())
    except Exception:
        return not _is_in_memory(stream) and not isinstance(getattr(type(stream), "write", None), FunctionType)
    return True


def _is_in_memory(stream: Any) -> bool:
    return isinstance(stream, io.StringIO) or (
        isinstance(stream, io.TextIOWrapper) and isinstance(getattr(stream, "buffer", None), io.BytesIO)
    )


def takes_over(handler: logging.Handler) -> bool:
    """Return whether ``handler`` behaves as the standard library's, and writes to the console."""
    if not isinstance(handler, logging.StreamHandler) or not is_console(getattr(handler, "stream", None)):
        return False
    kind = type(handler)
    return kind.format is _standard_format and _is_standard(kind.emit)


def _is_standard(emit: Any) -> bool:
    return getattr(emit, "__module__", None) in ("logging", "logging.handlers")


def shows(handler: logging.Handler, depth: int = 0) -> bool:
    """Return whether ``handler`` writes records to the console, itself or through handlers that it passes them to."""
    try:
        if isinstance(handler, logging.StreamHandler) and _is_standard(type(handler).emit):
            return is_console(_stream(handler))
        if depth > _MOST_NESTED or is_console(_stream(handler)) or _prints(type(handler)):
            return depth <= _MOST_NESTED
        return any(shows(one, depth + 1) for one in _behind(handler))
    except Exception:  # raised by an attribute of the application's handler
        return False


def _stream(handler: logging.Handler) -> Any:
    """Return the stream of a StreamHandler, or of a handler that writes through a console of Rich."""
    if isinstance(handler, logging.FileHandler) and handler.stream is None:  # not opened yet
        return _Named(handler.baseFilename)
    if isinstance(handler, logging.StreamHandler):
        return getattr(handler, "stream", None)
    return getattr(getattr(handler, "console", None), "file", None)


def _behind(handler: Any) -> Iterator[logging.Handler]:
    """Yield the handlers to which ``handler`` passes records: a MemoryHandler's target, those behind a queue."""
    target = getattr(handler, "target", None)
    if isinstance(target, logging.Handler):
        yield target
    queue = getattr(handler, "queue", None)
    if queue is not None:
        for thread in threading.enumerate():
            listener = getattr(getattr(thread, "_target", None), "__self__", None)
            if getattr(listener, "queue", None) is queue:
                yield from getattr(listener, "handlers", ())


def _prints(kind: type[logging.Handler]) -> bool:
    """Return whether the ``emit`` of a handler's class prints, or passes records to loguru, which prints."""
    emit: Any = kind.emit
    code = getattr(emit, "__code__", None)
    if code is None or _is_standard(emit):
        return False
    if prints(code):
        return True
    loguru = sys.modules.get("loguru")
    own = getattr(loguru, "logger", None)
    given = getattr(emit, "__globals__", {})
    return own is not None and any(given.get(name) is own for name in code.co_names) and _loguru_prints(own)


def _loguru_prints(logger: Any) -> bool:
    """Return whether one of loguru's sinks writes to the console."""
    sinks = [handler._sink for handler in logger._core.handlers.values()]
    return any(
        is_console(getattr(sink, "_stream", None))
        or getattr(getattr(sink, "_function", None), "__module__", "") == "obskit.logs.loguru"
        for sink in sinks
    )
