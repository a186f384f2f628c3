"""When a response's body is over, for every client built on ``http.client``."""

from __future__ import annotations

import sys
from typing import Any

from obskit.instrumentation.client import ClientExchange

_TRANSPORT = frozenset(["http", "socket", "ssl", "urllib3"])


def finish_with_body(exchange: ClientExchange, response: Any) -> None:
    """Finish ``exchange`` when ``response`` (an ``http.client.HTTPResponse``) has been read, closed or dropped.

    In all three cases it closes the file it reads from, so that is what we watch. Where there is no such file (no
    body, a mock, another transport) the exchange finishes now: urllib3-future makes one whenever it is asked for it.
    """
    file = getattr(response, "__dict__", {}).get("fp")
    if file is None or getattr(response, "length", None) == 0:
        exchange.finish()
        return
    earlier = id(sys.exc_info()[1])  # not the exception itself: its frames may hold the response

    def close() -> None:
        error = sys.exc_info()[1]
        del file.close  # the original shows again, and the reference cycle is gone
        try:
            file.close()
        finally:
            exchange.finish(error if id(error) != earlier and is_error_of(error, _TRANSPORT) else None)

    try:
        file.close = close
    except AttributeError:
        exchange.finish()


def is_error_of(error: BaseException | None, packages: frozenset[str]) -> bool:
    """Return whether ``error``, in flight while a body closes, came from reading it, which is the work of ``packages``.

    An application that fails in the middle of a body closes it too, but its error comes out of its own code.
    """
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in packages
