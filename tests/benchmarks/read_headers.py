"""Reading the caller's trace from a WSGI environ, as each side's WSGI integration reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import Figures, timed
from flask_request import NO_HEADERS, SAMPLED, environ
from sides import OBSKIT, start

MULTI, SINGLE, NONE = "B3 multi", "B3 single", "no B3"
REQUESTS = 2000


def prepare(side: str, variant: str, receiver: str) -> Callable[[], Figures]:
    """Return what reads a round of environs."""
    start(side, receiver)
    extract = _obskit() if side == OBSKIT else _peer()
    environs = [_environ(variant, number) for number in range(REQUESTS)]

    def work() -> None:
        for values in environs:
            extract(values)

    return lambda: timed(REQUESTS, work)


def _environ(variant: str, number: int) -> dict[str, Any]:
    values = environ(NO_HEADERS if variant == NONE else SAMPLED, number)
    if variant == SINGLE:
        names = ("TRACEID", "SPANID", "SAMPLED", "PARENTSPANID")
        values["HTTP_B3"] = "-".join(values.pop(f"HTTP_X_B3_{name}") for name in names)
    return values


def _obskit() -> Callable[[dict[str, Any]], object]:
    from obskit.propagation.headers import WSGI
    from obskit.propagation.propagator import extract

    return lambda values: extract(values.get, WSGI)


def _peer() -> Callable[[dict[str, Any]], object]:
    from opentelemetry.instrumentation.wsgi import wsgi_getter
    from opentelemetry.propagate import extract

    return lambda values: extract(values, getter=wsgi_getter)
