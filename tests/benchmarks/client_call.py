"""What tracing adds to one call of an HTTP client, over a kept-alive connection to a server in another process."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from clocks import Block, Figures, timed
from sides import BARE, OBSKIT, PEER, Delivery, start_obskit, start_peer

CALLS = 50
REQUESTS, HTTPX = "requests", "httpx"
TEXT = "an order"
B3 = {"X-B3-TraceId": "463ac35c9f6413ad48485a3953bb6124", "X-B3-SpanId": "a2fb4a1d1a96d312", "X-B3-Sampled": "1"}
"""What the untraced side sends by itself: what a library takes to send a trace's headers is no side's."""

Get = Callable[[str], str]
"""GETs a URL and returns the text."""


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what makes a block of calls, and checks that a span arrived for each."""
    sides = {REQUESTS: _requests, HTTPX: _httpx}[variant]

    def work(get: Get) -> None:
        for _ in range(CALLS):
            assert get(f"{receiver}/orders/7") == TEXT

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

    The peer patches ``Session.send``, so the other two have the original of their own; ours has connection pools of
    its own, as that is what ours patches.
    """
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.urllib3 import install

    class Untouched(requests.Session):
        send = requests.Session.send

    class Pool(HTTPConnectionPool): ...

    class TlsPool(HTTPSConnectionPool): ...

    install(SimpleNamespace(HTTPConnectionPool=Pool, HTTPSConnectionPool=TlsPool), Patches())
    RequestsInstrumentor().instrument(tracer_provider=peer)
    bare, ours, theirs = Untouched(), Untouched(), requests.Session()
    ours.get_adapter("http://").poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}
    bare.headers.update(B3)
    for session in (bare, ours, theirs):
        session.trust_env = False
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
    bare = httpx.Client(trust_env=False, headers=B3)
    ours, theirs = Client(trust_env=False), httpx.Client(trust_env=False)
    HTTPXClientInstrumentor.instrument_client(theirs, tracer_provider=peer)
    return _texts(bare), _texts(ours), _texts(theirs)


def _texts(client: Any) -> Get:
    return lambda url: client.get(url).text  # type: ignore[no-any-return]
