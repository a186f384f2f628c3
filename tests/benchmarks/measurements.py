"""What is measured, and the bar each figure has to meet."""

from __future__ import annotations

from typing import NamedTuple

import api_span
import flask_request
import read_headers
from sides import BARE, OBSKIT, PEER


class Bar(NamedTuple):
    """The most that obskit may cost: ``limit`` times the peer, ``limit`` times bare Python, or ``limit`` microseconds.

    Where a bare side was measured, what counts is what a side adds to it, except ``of`` bare itself.
    """

    limit: float
    of: str

    def __str__(self) -> str:
        if self.of == "us":
            return f"<= {self.limit:g} us"
        return f"<= {self.limit:g} x {self.of}" if self.of == BARE else f"<= 1/{1 / self.limit:g}"


class Measurement(NamedTuple):
    """One module run in one variant: ``rounds`` times each side, one side after the other."""

    title: str
    module: str
    variant: str = ""
    sides: tuple[str, ...] = (BARE, OBSKIT, PEER)
    bar: Bar | None = None
    rounds: int = 21


_TENTH, _FIFTH = Bar(1 / 10, PEER), Bar(1 / 5, PEER)
_NO_BARE = (OBSKIT, PEER)

MEASUREMENTS = (
    *(
        Measurement(f"Flask request, {variant}", "flask_request", variant, bar=_TENTH)
        for variant in (flask_request.SAMPLED, flask_request.UNSAMPLED, flask_request.NO_HEADERS)
    ),
    *(
        Measurement(f"OpenTelemetry span, {variant}", "api_span", variant, _NO_BARE, _FIFTH)
        for variant in (api_span.BARE_SPAN, api_span.CURRENT_SPAN)
    ),
    Measurement("Zipkin JSON of a span", "zipkin_json", sides=_NO_BARE, bar=_FIFTH),
    Measurement("process start", "process_start", bar=Bar(15, BARE)),
    Measurement("span to the queue", "hand_over", sides=_NO_BARE),
    *(
        Measurement(f"reading headers, {variant}", "read_headers", variant, _NO_BARE)
        for variant in (read_headers.MULTI, read_headers.SINGLE, read_headers.NONE)
    ),
    Measurement("call with requests", "client_call"),
    Measurement("hostile headers", "hostile_headers", bar=Bar(50, "us"), rounds=6),
)
