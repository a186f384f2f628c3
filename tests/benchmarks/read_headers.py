"""Reading the caller's trace from a WSGI environ, as each side's WSGI integration reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import Block, timed
from flask_request import NO_HEADERS, SAMPLED, environ
from sides import OBSKIT, PEER, discard, start_obskit, start_peer

MULTI, SINGLE, NONE = "B3 multi", "B3 single", "no B3"
REQUESTS = 500


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what reads a block of environs."""
    start_obskit(discard())
    start_peer(discard())
    environs = [_environ(variant, number) for number in range(REQUESTS)]
    return {OBSKIT: _block(_obskit(), environs), PEER: _block(_peer(), environs)}


def _block(extract: Callable[[dict[str, Any]], object], environs: list[dict[str, Any]]) -> Block:
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
