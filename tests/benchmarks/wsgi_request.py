"""What tracing adds to one request of the smallest WSGI application, called as a WSGI server calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from clocks import Block
from flask_request import served
from sides import OBSKIT, PEER, start_obskit, start_peer


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of requests, and checks that a span arrived for each (for none where unsampled)."""
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    from obskit.integrations.wsgi import ObskitMiddleware

    flush = start_obskit(f"{receiver}/{OBSKIT}")
    peer = start_peer(f"{receiver}/{PEER}")
    theirs = OpenTelemetryMiddleware(smallest, tracer_provider=peer)
    return served((smallest, ObskitMiddleware(smallest), theirs), variant, receiver, flush, peer.force_flush)


def smallest(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request alike."""
    start_response("200 OK", [])
    return [b"an order"]
