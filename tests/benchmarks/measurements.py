"""What is measured, and the bar each figure has to meet."""

from __future__ import annotations

from typing import NamedTuple

import api_span
import async_client_call
import client_call
import flask_request
import grpc_call
import log_record
import read_headers
import throughput
import zipkin_json
from sides import BARE, PEER


class Bar(NamedTuple):
    """What obskit is compared with, and the most it may cost: ``limit`` times that; None where no bar is set.

    Where a bare side was measured, what counts is what a side adds to it, except in a comparison with bare itself.
    ``microseconds`` is a bar for obskit alone.
    """

    other: str = PEER
    limit: float | None = None
    microseconds: float | None = None

    def __str__(self) -> str:
        if self.microseconds is not None:
            return f"<= {self.microseconds:g} us"
        return "" if self.limit is None else f"<= {self.limit:g}"


class Measurement(NamedTuple):
    """One module run in one variant for ``rounds`` rounds, in each of which every side has its turn.

    ``needs`` names what is installed for it alone.
    """

    title: str
    module: str
    variant: str = ""
    bars: tuple[Bar, ...] = (Bar(),)
    rounds: int = 150
    needs: tuple[str, ...] = ()


_TENTH, _EIGHTH, _FIFTH = (Bar(PEER, 1 / 10),), (Bar(PEER, 1 / 8),), (Bar(PEER, 1 / 5),)
_LOGS = (Bar(log_record.PLAIN, 1), Bar(log_record.GOOGLE, 0.45), Bar(log_record.PYTHON_JSON, 0.8))
_LOGS_BELOW = (Bar(log_record.PLAIN, 1.05),)  # nothing but noise: up to there all of it is the library's own code


def _instrumented(library: str, instrumentation: str, *more: str) -> tuple[str, ...]:
    return library, f"opentelemetry-instrumentation-{instrumentation}", *more


MEASUREMENTS = (
    *(
        Measurement(f"Flask request, {variant}", "flask_request", variant, _TENTH)
        for variant in (flask_request.SAMPLED, flask_request.UNSAMPLED, flask_request.NO_HEADERS)
    ),
    Measurement("FastAPI request, sampled", "fastapi_request", flask_request.SAMPLED, _TENTH),
    Measurement("Django request, sampled", "django_request", flask_request.SAMPLED, _TENTH),
    Measurement("aiohttp.web request, sampled", "aiohttp_request", flask_request.SAMPLED, _EIGHTH),
    Measurement("Tornado request, sampled", "tornado_request", flask_request.SAMPLED, _EIGHTH),
    Measurement("bare WSGI request, unsampled", "wsgi_request", flask_request.UNSAMPLED, (Bar(microseconds=2), Bar())),
    *(
        Measurement(f"OpenTelemetry span, {variant}", "api_span", variant, (Bar(PEER, 0.18),))
        for variant in (api_span.BARE_SPAN, api_span.CURRENT_SPAN)
    ),
    Measurement("Zipkin JSON of a span", "zipkin_json", bars=_FIFTH),
    Measurement("Zipkin proto3 of a span", "zipkin_json", zipkin_json.PROTO3, bars=(Bar(zipkin_json.JSON),)),
    *(
        Measurement(
            f"log record, {variant}",
            "log_record",
            variant,
            _LOGS_BELOW if variant == log_record.BELOW else _LOGS,
        )
        for variant in log_record.VARIANTS
    ),
    Measurement("process start", "process_start", bars=(Bar(BARE, 5.5), Bar()), rounds=21),
    Measurement("span to the queue", "hand_over", bars=(Bar(), Bar(microseconds=0.5))),
    Measurement("span through the pipeline", "throughput", throughput.TO_HTTP, (Bar(PEER, 1 / 6),), rounds=40),
    Measurement("span made and encoded", "throughput", throughput.TO_NOTHING, (Bar(BARE, microseconds=20),), rounds=40),
    *(
        Measurement(f"reading headers, {variant}", "read_headers", variant)
        for variant in (read_headers.MULTI, read_headers.SINGLE, read_headers.NONE)
    ),
    Measurement("call with requests", "client_call", client_call.REQUESTS),
    *(
        Measurement(f"call with {variant}", module, variant, _EIGHTH, needs=_instrumented(*libraries))
        for module, variant, *libraries in (
            ("client_call", client_call.HTTPX, "httpx", "httpx"),
            ("async_client_call", async_client_call.HTTPX, "httpx", "httpx", "sniffio"),
            ("async_client_call", async_client_call.AIOHTTP, "aiohttp", "aiohttp-client"),
            ("async_client_call", async_client_call.TORNADO, "tornado", "tornado"),
        )
    ),
    *(
        Measurement(f"unary gRPC call, {variant}", "grpc_call", variant, _FIFTH)
        for variant in (grpc_call.CLIENT, grpc_call.SERVER)
    ),
    Measurement("hostile headers", "hostile_headers", bars=(Bar(microseconds=50),), rounds=6),
)
