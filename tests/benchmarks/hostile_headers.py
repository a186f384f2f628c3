"""Requests whose propagation headers are malformed or a megabyte long, served by the smallest WSGI application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clocks import FOREGROUND, Block, Figures, timed
from flask_request import NO_HEADERS, SAMPLED, environ, serve_all
from sides import BARE, OBSKIT, PEER, start_obskit, start_peer
from wsgi_request import smallest

REQUESTS = 100
_HUGE = 1024 * 1024
_ID = "463ac35c9f6413ad"

HOSTILE: dict[str, dict[str, str]] = {
    "ids that are not hex": {"HTTP_X_B3_TRACEID": "no such trace", "HTTP_X_B3_SPANID": "-1"},
    "a b3 that is not": {"HTTP_B3": f"{_ID}-{_ID}-x-{_ID}"},
    "a traceparent that is not": {"HTTP_TRACEPARENT": f"00-{_ID * 2}-{_ID}"},
    "1 MB X-B3-TraceId": {"HTTP_X_B3_TRACEID": "a" * _HUGE},
    "1 MB of zeros as X-B3-SpanId": {"HTTP_X_B3_SPANID": "0" * _HUGE},
    "1 MB X-B3-ParentSpanId": {"HTTP_X_B3_PARENTSPANID": "a" * _HUGE},
    "1 MB X-B3-Sampled": {"HTTP_X_B3_SAMPLED": "T" * _HUGE},
    "1 MB X-B3-Flags": {"HTTP_X_B3_FLAGS": "1" * _HUGE},
    "1 MB b3": {"HTTP_B3": "a" * _HUGE},
    "1 MB b3 of dashes": {"HTTP_B3": "-" * _HUGE},
    "1 MB traceparent": {"HTTP_TRACEPARENT": "01" + f"-{_ID}" * (_HUGE // 17)},
    "1 MB tracestate": {"HTTP_TRACEPARENT": f"00-{_ID * 2}-{_ID}-01", "HTTP_TRACESTATE": "a=1," * (_HUGE // 4)},
    "1 MB X-Cloud-Trace-Context": {"HTTP_X_CLOUD_TRACE_CONTEXT": "1" * _HUGE},
    "1 MB X-Span-Name": {"HTTP_X_SPAN_NAME": "a" * _HUGE},
    "1 MB x-request-id": {"HTTP_X_REQUEST_ID": "a" * _HUGE},
    "1 MB baggage": {"HTTP_BAGGAGE": "a=1," * (_HUGE // 4)},
}


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of each kind; each kind is a figure."""
    flush = start_obskit(f"{receiver}/{OBSKIT}")
    peer = start_peer(f"{receiver}/{PEER}")
    return {
        BARE: _block(smallest, lambda: True),
        OBSKIT: _block(_ours(), flush),
        PEER: _block(_theirs(peer), peer.force_flush),
    }


def _block(app: Callable[..., Any], flush: Callable[[], object]) -> Block:
    requests = {name: [_hostile(headers, number) for number in range(REQUESTS)] for name, headers in HOSTILE.items()}

    def block() -> Figures:
        figures = {}
        for name, environs in requests.items():
            fresh = [dict(values) for values in environs]
            figures[name] = timed(REQUESTS, lambda environs=fresh: serve_all(app, environs))[FOREGROUND]
            flush()
        return figures

    return block


def _hostile(headers: dict[str, str], number: int) -> dict[str, Any]:
    base = environ(SAMPLED if any("X_B3" in name for name in headers) else NO_HEADERS, number)
    return base | headers


def _ours() -> Callable[..., Any]:
    from obskit.instrumentation.wsgi import serve

    return lambda values, start_response: serve(smallest, values, start_response)


def _theirs(peer: Any) -> Callable[..., Any]:
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(smallest, tracer_provider=peer)
