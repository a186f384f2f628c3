"""Which streams and handlers end at the process's standard output or error, by whatever way.

A handler whose ``emit`` and ``format`` are the standard library's can be taken over: the form of its lines is all it
has. Others keep what they do, but a line that one of them shows must not be written a second time.
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

_MOST_NESTED = 8
_standard_format = logging.Handler.format
_known: dict[int, tuple[weakref.ref[Any], bool]] = {}


def is_console(stream: Any) -> bool:
    """Return whether what is written to ``stream`` comes out at the process's standard output or error."""
    if stream is None:
        return False
    if stream is sys.__stderr__ or stream is sys.__stdout__:
        return True
    known = _known.get(id(stream))
    return known[1] if known is not None and known[0]() is stream else _look_at(stream)


def _look_at(stream: Any) -> bool:
    """Answer for ``is_console``, and keep the answer for as long as the stream lives."""
    found = is_same_file(stream, 1) or is_same_file(stream, 2)
    if not found and (stream is sys.stdout or stream is sys.stderr):
        found = is_given(stream)
    key = id(stream)
    with suppress(TypeError):  # of a type without weak references
        _known[key] = weakref.ref(stream, lambda _: _known.pop(key, None)), found
    return found


def is_same_file(stream: Any, number: int) -> bool:
    """Return whether ``stream`` is the file of descriptor ``number``, under the same or another descriptor."""
    try:
        own = stream.fileno()
        return own == number or os.path.samestat(os.stat(own), os.fstat(number))
    except Exception:  # a stream may have no file, or a method of that name that does anything
        return False


class _Named:
    """Stands for a file that will be opened: ``os.stat`` takes its name where it takes a descriptor."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fileno(self) -> str:
        return self._name


def is_given(stream: Any) -> bool:
    """Return whether ``sys.stdout`` is what the process was given, and not what a program put in its place.

    That is a file, or an object of a server that is not made in Python, as mod_wsgi's; not text that is collected in
    memory, and not an object that hands what it gets to logging.
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
    """Return whether ``handler`` does what the standard library's do, and writes to the console."""
    if not isinstance(handler, logging.StreamHandler) or not is_console(getattr(handler, "stream", None)):
        return False
    kind = type(handler)
    return kind.format is _standard_format and _is_standard(kind.emit)


def _is_standard(emit: Any) -> bool:
    return getattr(emit, "__module__", None) in ("logging", "logging.handlers")


def shows(handler: logging.Handler, depth: int = 0) -> bool:
    """Return whether what ``handler`` gets is shown on the console: by itself, or by those it passes records on to."""
    try:
        if isinstance(handler, logging.StreamHandler) and _is_standard(type(handler).emit):
            return is_console(_stream(handler))
        if depth > _MOST_NESTED or is_console(_stream(handler)) or _prints(type(handler)):
            return depth <= _MOST_NESTED
        return any(shows(one, depth + 1) for one in _behind(handler))
    except Exception:  # from an attribute of the application's handler
        return False


def _stream(handler: logging.Handler) -> Any:
    """Return the stream of a StreamHandler, or of a handler that writes through one of Rich's consoles."""
    if isinstance(handler, logging.FileHandler) and handler.stream is None:  # not opened yet
        return _Named(handler.baseFilename)
    if isinstance(handler, logging.StreamHandler):
        return getattr(handler, "stream", None)
    return getattr(getattr(handler, "console", None), "file", None)


def _behind(handler: Any) -> Iterator[logging.Handler]:
    """Yield the handlers that get the records of ``handler``: a MemoryHandler's target, those behind a queue."""
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
    """Return whether a handler's class has an ``emit`` of its own that prints, or hands records to loguru for it."""
    emit: Any = kind.emit
    code = getattr(emit, "__code__", None)
    if code is None or _is_standard(emit):
        return False
    names = code.co_names
    if "print" in names or ("sys" in names and ("stdout" in names or "stderr" in names)):
        return True
    loguru = sys.modules.get("loguru")
    own = getattr(loguru, "logger", None)
    given = getattr(emit, "__globals__", {})
    return own is not None and any(given.get(name) is own for name in names) and _loguru_prints(own)


def _loguru_prints(logger: Any) -> bool:
    """Return whether one of loguru's sinks writes to the console."""
    sinks = [handler._sink for handler in logger._core.handlers.values()]
    return any(
        is_console(getattr(sink, "_stream", None))
        or getattr(getattr(sink, "_function", None), "__module__", "") == "obskit.logs.loguru"
        for sink in sinks
    )
