"""Writes lines to standard output: whole lines, also beside other writers, and lost ones are counted.

Lines go through the stream's own buffer, whose lock ``print`` and other handlers use as well. If the reader is gone,
what is left in the buffer is discarded: flushing it would fail again at the interpreter's exit, which then prints an
error and exits with status 120.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from obskit.base.failures import Tally
from obskit.base.process import on_fork
from obskit.logs.consoles import is_given, is_same_file

_PATIENCE = 5.0
"""Seconds to wait for the reader of a non-blocking standard output; later lines do not wait for that one."""

_MOST_WAITING = 1_000
_FORK_WAIT = 1.0

written, lost = Tally(), Tally()


class Writer:
    """Writes lines to the stream that is ``sys.stdout`` on first use, like a StreamHandler.

    If the program replaces ``sys.stdout`` by another object for the same file, it follows; if ``sys.stdout`` is
    redirected, to a buffer in memory or to logging itself, it does not.
    """

    def __init__(self, stream: Any = None) -> None:
        self._seen: Any = None
        self._stream: Any = None
        self._out: Any = None
        self._flush_text: Callable[[], object]
        self._put: Callable[[bytes], int]
        self._flush_bytes: Callable[[], object]
        self._rest = b""
        self._is_usual = self._is_patient = True
        self._waiting: deque[str] = deque()
        self.after_fork()
        self._use(stream)

    def after_fork(self) -> None:
        """Start anew in a forked child: waiting lines belong to the parent."""
        self._lock = threading.RLock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._writing = self._emptying = False
        self._waiting.clear()
        self._keep(b"")

    def hold(self, timeout: float) -> bool:
        """Take the lock, waiting at most ``timeout`` seconds for another writer."""
        return self._lock.acquire(timeout=timeout)

    def let_go(self) -> None:
        """Release the lock that ``hold`` took."""
        self._lock.release()

    def follow(self) -> None:
        """Choose the stream again if ``sys.stdout`` has changed."""
        stream = self._seen = sys.stdout
        if self._stream is None or _is_closed(self._stream):
            self._use(stream if is_given(stream) else sys.__stdout__)
        elif stream is not self._stream and is_same_file(stream, 1):
            self._use(stream)

    def _use(self, stream: Any) -> None:
        self._stream, self._out = stream, _find_buffer(stream)
        if self._out is not None:
            self._flush_text, self._put, self._flush_bytes = stream.flush, self._out.write, self._out.flush
        self._keep(self._rest)

    def _keep(self, rest: bytes) -> None:
        """Keep the rest of a partly written line."""
        self._rest = rest
        self._is_usual = self._out is not None and not rest

    def write(self, line: str) -> None:
        """Write a line with its line end, and count it as written or lost. Raises only what a signal handler raises.

        A signal handler may log while this very thread is writing: its line waits until the current one is complete.
        """
        try:
            self._acquire()  # by ``with`` it would take 1.5 % of a line
            if self._writing:
                self._defer(line)
            else:
                self._write(line)
        except BaseException:
            self._release_owned()
            raise
        self._release()

    def _write(self, line: str) -> None:
        self._writing = True
        taken = None
        try:
            if self._is_usual and sys.stdout is self._seen:
                data = line.encode() if line.isascii() else _encoded(line, self._stream)
                self._flush_text()  # flush what was printed before
                taken = 0
                taken = self._put(data)
                if taken != len(data):  # unbuffered: a signal arrived, or standard output does not block
                    raise BlockingIOError(0, "", taken or 0)
                self._flush_bytes()
            else:
                self._write_unusual(line)
            written.add()
        except BaseException as error:
            self._recover(line, taken, error)
        finally:
            self._writing = False
        if self._waiting:
            self.flush()

    def _release_owned(self) -> None:
        """Release the lock if an exception of a signal handler came after it was taken, and not while waiting."""
        if self._lock._is_owned():  # type: ignore[attr-defined]
            self._release()

    def flush(self) -> None:
        """Write the lines that wait now, and not those added meanwhile: writing may cause new ones."""
        with self._lock:
            if self._writing or self._emptying:
                return
            self._emptying = True
            try:
                self._empty()
            finally:
                self._emptying = False

    def _empty(self) -> None:
        for _ in range(len(self._waiting)):
            line = self._waiting.popleft()
            self.write(line)
            if self._waiting and self._waiting[-1] is line:  # not ready yet
                self._waiting.rotate(1)
                return
        if self._rest or not self._is_patient:
            self._is_patient = True
            with suppress(OSError, ValueError):
                self._finish(b"", 0)

    def _defer(self, line: str) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(line)
        else:
            lost.add()

    def _write_unusual(self, line: str) -> None:
        """Write if standard output has changed, is not a plain file, or has accepted only a part of a line."""
        if sys.stdout is not self._seen:
            self.follow()
        if self._out is None:
            _write_text(self._stream, line)
            return
        with suppress(BlockingIOError):
            self._flush_text()
        self._finish(_encoded(line, self._stream), 0)

    def _recover(self, line: str, taken: int | None, error: BaseException) -> None:
        """Handle ``error`` for a line of which ``taken`` bytes were accepted; None if it was not begun."""
        if isinstance(error, BlockingIOError):
            try:
                self._finish(_encoded(line, self._stream), taken or (0 if taken is None else error.characters_written))
                written.add()
            except OSError:
                lost.add()
        elif isinstance(error, RuntimeError) and "reentrant" in str(error):  # a signal handler, while printing
            self._defer(line)
        else:
            lost.add()
            if isinstance(error, OSError) and taken is not None:  # the reader is gone, the disk is full
                _discard(self._out)
            elif not isinstance(error, Exception):
                if taken == 0:  # a part of it may have been written
                    self._keep(b"\n")
                raise error

    def _finish(self, data: bytes, taken: int) -> None:
        """Write the rest of a line that standard output has accepted only in part or not without blocking.

        Raises BlockingIOError if nothing of ``data`` is accepted in time; later calls complete a line that was begun.
        """
        old, left = self._rest, self._rest + data[taken:]
        sent = self._push(left)
        if data and not taken and sent <= len(old):
            self._keep(old[sent:])
            raise BlockingIOError
        self._keep(left[sent:])

    def _push(self, data: bytes) -> int:
        """Write as much of ``data`` as is accepted in time; return how much."""
        ends = monotonic() + (_PATIENCE if self._is_patient else 0.0)
        sent = 0
        while sent < len(data) or not self._is_flushed():
            self._is_patient = _is_writable(self._stream, ends)
            if not self._is_patient:
                break
            sent += self._take(data[sent:])
        return sent

    def _take(self, data: bytes) -> int:
        try:
            return self._put(data) or 0
        except BlockingIOError as error:
            return error.characters_written
        except OSError:
            _discard(self._out)
            raise

    def _is_flushed(self) -> bool:
        try:
            self._flush_bytes()
        except BlockingIOError:
            return False
        except OSError:
            _discard(self._out)
            raise
        return True


def _is_closed(stream: Any) -> bool:
    try:
        return bool(stream.closed)
    except AttributeError:
        return False
    except ValueError:  # it was detached
        return True


def _find_buffer(stream: Any) -> Any:
    """Return the binary buffer of ``stream``; None if it does not have the type of Python's own ``sys.stdout``."""
    try:
        if type(stream) is not io.TextIOWrapper or "{".encode(stream.encoding) != b"{":  # a byte order mark
            return None
        out = stream.buffer
    except Exception:  # the stream was detached
        return None
    return out if isinstance(out, io.BufferedWriter | io.FileIO) else None  # with python -u there is no buffer


def _is_writable(stream: Any, ends: float) -> bool:
    """Wait until ``stream`` is writable; one without a descriptor always is."""
    try:
        waiting = select.poll()
        waiting.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError, AttributeError):
        return True
    return bool(waiting.poll(max(0.0, ends - monotonic()) * 1000))


def _discard(out: Any) -> None:
    """Empty a buffer by letting it write to the null device for a moment."""
    raw = getattr(out, "raw", None)
    if type(raw) is not io.FileIO or raw.closefd:
        return
    with suppress(OSError, ValueError):
        number, name = raw.fileno(), raw.name
        os.fstat(number)
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _point(raw, nowhere)
            out.flush()
        finally:
            _point(raw, number)
            raw.name = name
            os.close(nowhere)


def _point(raw: io.FileIO, number: int) -> None:
    raw.__init__(number, "wb", closefd=False)  # type: ignore[misc]


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


def _ascii(line: str) -> str:
    try:
        return json.dumps(json.loads(line)) + "\n"
    except ValueError:
        return line.encode("ascii", "backslashreplace").decode()


standard_output = Writer()


_held = False


def _hold() -> None:
    """Take the lock before a fork: the child would inherit the stream's lock in a locked state, and wait for ever."""
    global _held  # noqa: PLW0603 - released by the hooks after the fork
    _held = standard_output.hold(_FORK_WAIT)


def _let_go() -> None:
    if _held:
        standard_output.let_go()


on_fork(standard_output.after_fork)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go)
