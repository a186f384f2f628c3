"""A thread that wakes when the process catches SIGTERM, whatever its main thread is doing.

A Python signal handler runs only once the main thread is back in the interpreter. If the signal comes just before a
blocking call, such as a semaphore's, that is never, although the system's default would have ended the process.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable

from obskit.base.native_threads import no_sigterm, original, start_thread
from obskit.base.own_file import OwnFile

_CREDENTIALS = struct.Struct("iII")  # of the process that wrote: pid, user, group
_STATUS = "/proc/self/status"


class Alarm:
    """Calls ``ring`` on a separate thread when SIGTERM is caught; then the earlier handler runs.

    ``ours`` tells whether nobody else has replaced the handler since.

    faulthandler catches a signal in C and writes a traceback: this text wakes the thread, and is not read. The
    application does not see it, neither by ``signal.getsignal`` nor among the threads of ``threading``.
    """

    def __init__(self, ring: Callable[[], object], ours: Callable[[], bool]) -> None:
        self._ring = ring
        self._ours = ours
        self._ends: tuple[OwnFile, OwnFile] | None = None  # two sockets
        self._stale = False

    @property
    def is_set(self) -> bool:
        """Return whether it is set in this process."""
        return self._ends is not None

    def set(self, chain: bool) -> None:
        """Wait for SIGTERM, and with ``chain`` hand it on; where that cannot be had, do nothing."""
        ends = None if self.is_set or self._stale else _pair()
        if ends is None:
            return
        import faulthandler  # no subinterpreter of its own may

        try:
            start_thread("obskit-sigterm", self._wait, ends[0])
        except RuntimeError:  # no more threads
            _close(ends)
            return
        self._ends = ends
        with no_sigterm():  # faulthandler loses one that comes amid its own changes
            faulthandler.register(signal.SIGTERM, ends[1].fileno, all_threads=False, chain=chain)

    def unset(self) -> None:
        """Stop waiting and restore the earlier handler, unless somebody else has replaced it."""
        if self._ends is not None and self._ours():
            import faulthandler

            with no_sigterm():
                faulthandler.unregister(signal.SIGTERM)
            (_, writing), self._ends = self._ends, None
            writing.close()  # ends the thread

    def unset_in_child(self) -> None:
        """Drop what a forked child inherited. If the application handles the signal, faulthandler stays beneath it."""
        if self._ends is None:
            return
        reading, writing = self._ends
        self.unset()
        if self._ends is not None:
            self._stale, self._ends = True, None
            writing.close()
        reading.close()

    def _wait(self, reading: OwnFile) -> None:
        try:
            written = _wait_for_own(reading.fileno)
            if self._ends is None or self._ends[0] is not reading:
                reading.close()
            elif written:
                self._ring()
            else:
                self.unset()
        except BaseException:  # the interpreter is ending
            return


def rest(seconds: float) -> None:
    """Sleep with the system's own ``sleep``, not a greenlet's."""
    original("time", "sleep")(seconds)


def default_natively() -> None:
    """Restore the system's default for SIGTERM from any thread; ``signal.signal`` works on the main thread only."""
    import ctypes

    ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(0))


def caught_natively() -> bool:
    """Return whether the process catches SIGTERM, as Linux says, although Python does not know of it."""
    try:
        with open(_STATUS, "rb") as file:
            caught = next((line for line in file if line.startswith(b"SigCgt:")), b"SigCgt: 0")
    except OSError:
        return False
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def _pair() -> tuple[OwnFile, OwnFile] | None:
    """Return two connected sockets. The first tells which process wrote: a child may have inherited the second."""
    try:
        import _socket

        reading, writing = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        reading.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        writing.setblocking(False)
    except (ImportError, AttributeError, OSError):  # not on Linux, or no more files
        return None
    return OwnFile(reading.detach()), OwnFile(writing.detach())


def _wait_for_own(fileno: int) -> bool:
    """Return True once this process has written to the other socket, False once that is closed."""
    import _socket

    reading = _socket.socket(fileno=fileno)
    while True:
        data, ancillary, _, _ = reading.recvmsg(1, 64)
        pids = [_CREDENTIALS.unpack(found)[0] for _, _, found in ancillary if len(found) == _CREDENTIALS.size]
        if not data or os.getpid() in pids:
            reading.detach()
            return bool(data)


def _close(ends: tuple[OwnFile, OwnFile]) -> None:
    for end in ends:
        end.close()
