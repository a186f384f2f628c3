"""What tracing adds to one call with requests, over a kept-alive connection to a server in another process."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from clocks import Block, Figures, timed
from sides import BARE, OBSKIT, PEER, Delivery, start_obskit, start_peer

CALLS = 50


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what makes a block of calls, and checks that a span arrived for each."""
    flush = start_obskit(f"{receiver}/{OBSKIT}")
    peer = start_peer(f"{receiver}/{PEER}")
    bare, ours, theirs = _sessions(peer)
    return {
        BARE: _block(bare, receiver, lambda: True),
        OBSKIT: _block(ours, receiver, flush, Delivery(OBSKIT, receiver)),
        PEER: _block(theirs, receiver, peer.force_flush, Delivery(PEER, receiver)),
    }


def _sessions(peer: Any) -> tuple[Any, Any, Any]:
    """Return three sessions: nobody's, ours, and the peer's.

    The peer patches ``Session.send``, so the other two have the original of their own; ours has an adapter of its own,
    as ours patches ``HTTPAdapter.send``.
    """
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from requests.adapters import HTTPAdapter

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.requests import install

    class Untouched(requests.Session):
        send = requests.Session.send

    class Adapter(HTTPAdapter): ...

    install(SimpleNamespace(HTTPAdapter=Adapter), Patches())
    RequestsInstrumentor().instrument(tracer_provider=peer)
    bare, ours, theirs = Untouched(), Untouched(), requests.Session()
    ours.mount("http://", Adapter())
    for session in (bare, ours, theirs):
        session.trust_env = False
    return bare, ours, theirs


def _block(session: Any, receiver: str, flush: Callable[[], object], delivery: Delivery | None = None) -> Block:
    def work() -> None:
        for _ in range(CALLS):
            assert session.get(f"{receiver}/orders/7").text == "an order"

    def block() -> Figures:
        figures = timed(CALLS, work, flush)
        if delivery is not None:
            delivery.check(CALLS)
        return figures

    return block
