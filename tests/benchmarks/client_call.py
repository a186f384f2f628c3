"""What tracing adds to one call of an HTTP client, which gets its answer in this process: no sockets."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from clocks import Block, Figures, timed
from in_memory import TEXT, httpx_transport, new_url, urllib3_pools
from sides import BARE, OBSKIT, PEER, Delivery, start_obskit, start_peer

CALLS = 100
REQUESTS, HTTPX = "requests", "httpx"
B3 = {"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "a2fb4a1d1a96d312", "X-B3-Sampled": "1"}
"""What the untraced side sends by itself: what a library takes to send a trace's headers is no side's."""

Get = Callable[[str], str]
"""GETs a URL and returns the text."""


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what makes a block of calls, and checks that a span arrived for each."""
    sides = {REQUESTS: _requests, HTTPX: _httpx}[variant]

    def work(get: Get) -> None:
        for _ in range(CALLS):
            assert get(new_url()) == TEXT

    return calling(sides, work, receiver)


def calling(
    sides: Callable[[Any], tuple[Any, Any, Any]], work: Callable[[Any], None], receiver: str
) -> dict[str, Block]:
    """Return a block for each of three clients: nobody's, ours, and the peer's. ``work`` makes CALLS calls with one."""
    flush = start_obskit(f"{receiver}/{OBSKIT}")
    peer = start_peer(f"{receiver}/{PEER}")
    bare, ours, theirs = sides(peer)
    return {
        BARE: _block(lambda: work(bare), lambda: True, None),
        OBSKIT: _block(lambda: work(ours), flush, Delivery(OBSKIT, receiver)),
        PEER: _block(lambda: work(theirs), peer.force_flush, Delivery(PEER, receiver)),
    }


def _block(work: Callable[[], None], flush: Callable[[], object], delivery: Delivery | None) -> Block:
    def block() -> Figures:
        figures = timed(CALLS, work, flush)
        if delivery is not None:
            delivery.check(CALLS)
        return figures

    return block


def _requests(peer: Any) -> tuple[Get, Get, Get]:
    """Return three sessions.

    The peer patches ``Session.send``, so the other two have the original of their own. Each has connection pools of its
    own, which is what ours patches.
    """
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.urllib3 import install

    class Untouched(requests.Session):
        send = requests.Session.send

    RequestsInstrumentor().instrument(tracer_provider=peer)
    bare, ours, theirs = Untouched(), Untouched(), requests.Session()
    bare.headers.update(B3)
    for session in (bare, ours, theirs):
        session.trust_env = False
        pool, tls_pool = urllib3_pools()
        session.get_adapter("http://").poolmanager.pool_classes_by_scheme = {"http": pool, "https": tls_pool}
        if session is ours:
            install(SimpleNamespace(HTTPConnectionPool=pool, HTTPSConnectionPool=tls_pool), Patches())
    return _texts(bare), _texts(ours), _texts(theirs)


def _httpx(peer: Any) -> tuple[Get, Get, Get]:
    """Return three clients. The peer instruments one of them, ours a class of its own."""
    import httpx
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.httpx import install

    class Client(httpx.Client): ...

    class AsyncClient(httpx.AsyncClient): ...

    module = SimpleNamespace(**{**vars(httpx), "Client": Client, "AsyncClient": AsyncClient})
    install(module, Patches())
    bare = httpx.Client(transport=httpx_transport(), headers=B3)
    ours, theirs = Client(transport=httpx_transport()), httpx.Client(transport=httpx_transport())
    HTTPXClientInstrumentor.instrument_client(theirs, tracer_provider=peer)
    return _texts(bare), _texts(ours), _texts(theirs)


def _texts(client: Any) -> Get:
    return lambda url: client.get(url).text  # type: ignore[no-any-return]
