"""Exceptions of signal handlers: a time limit that a program set by SIGALRM, say.

They can come anywhere, within obskit too, and are the application's, which waits for them.
"""

from __future__ import annotations

import sys
from types import FrameType

_ARGUMENTS = 0x04  # CO_VARARGS


def let_through() -> None:
    """Raise the exception being handled once more if a signal handler raised it; else return."""
    error = sys.exc_info()[1]
    if error is not None and _is_a_handlers(error):
        raise error


def _is_a_handlers(error: BaseException) -> bool:
    """Return whether a frame of the traceback is a signal handler's: it was given the frame that it interrupted."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        interrupted, traceback = traceback.tb_frame, traceback.tb_next
        if _was_given(traceback.tb_frame, interrupted):
            return True
    return False


def _was_given(frame: FrameType, other: FrameType) -> bool:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _ARGUMENTS)]
    given = [frame.f_locals.get(name) for name in names]
    return any(one is other or (type(one) is tuple and any(item is other for item in one)) for one in given)
