"""The public interface as a typed program uses it: checked by mypy and pyright as users run them, never executed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI

import obskit
from obskit.integrations.asgi import ObskitMiddleware as AsgiMiddleware
from obskit.integrations.wsgi import ObskitMiddleware as WsgiMiddleware

obskit.init(service="orders", exporter=["console", "none"], sample_rate=0.5, logs="json", propagation=["b3multi"])


@obskit.span("charge", currency="EUR")
def charge(amount: int) -> str:
    obskit.current_span().tag("amount", amount)
    return f"{amount}"


@obskit.span("pages")
def pages() -> Iterator[int]:
    yield 1


@obskit.span("rows")
async def rows() -> AsyncIterator[int]:
    yield 1


@obskit.span("load")
async def load(order: int) -> bytes:
    with obskit.span("query", kind="client", remote="postgres", table="orders") as span:
        span.annotate("cache miss")
        span.error(ValueError("no such order"))
    return b"%d" % order


async def main() -> None:
    receipt: str = charge(3)
    first: int = next(pages())
    body: bytes = await load(first)
    headers: dict[str, str] = {"receipt": receipt, "body": body.decode()}
    obskit.inject(headers)
    with obskit.continue_trace(headers), obskit.log_context(order=first):
        delivered: bool = obskit.flush(timeout=1.0)
    assert delivered
    assert obskit.shutdown(timeout=1.0, unpatch=True)


def serve(environ: dict[str, object], start_response: object) -> list[bytes]:
    return [b"ok"]


wsgi = WsgiMiddleware(serve)
asgi = AsgiMiddleware(FastAPI())
