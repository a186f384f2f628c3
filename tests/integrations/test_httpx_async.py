"""httpx, asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from obskit.testing.contract import current
from obskit.tracing.propagated import PropagatedSpan
from tests.integrations.http_clients import CLIENT, AsyncClientCases, tls_context


def client(**options: object) -> httpx.AsyncClient:
    """Return a client that uses no proxy of the environment."""
    return httpx.AsyncClient(**{"follow_redirects": True, "trust_env": False, "timeout": 10, **options})  # type: ignore[arg-type]


class TestAsyncHttpx(AsyncClientCases):
    """Patched."""

    integration = "httpx"
    connection_error = httpx.TransportError
    body_error = httpx.RemoteProtocolError
    timeout_error = httpx.TimeoutException
    closes_when_dropped = False

    def get(self, url: str, headers: dict[str, str]) -> int:
        async def call() -> int:
            async with client() as one:
                return (await one.get(url, headers=headers)).status_code

        return asyncio.run(call())

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        loop = asyncio.new_event_loop()
        one = client()
        try:
            response = loop.run_until_complete(one.send(one.build_request("GET", url), stream=True))
            try:
                yield _steps(loop, response.aiter_bytes(5))
            finally:
                loop.run_until_complete(response.aclose())
        finally:
            loop.run_until_complete(one.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        async def call() -> bytes:
            async with client(verify=tls_context(), proxy=via, timeout=timeout) as one:
                return (await one.request(method, url, content=body)).content

        return asyncio.run(call())

    def request_twice(self, url: str) -> None:
        async def call() -> None:
            async with client() as one:
                await one.get(url)
                await one.get(url)

        asyncio.run(call())

    def drop(self, url: str) -> None:
        async def call() -> None:
            one = client()
            await one.send(one.build_request("GET", url), stream=True)

        asyncio.run(call())

    async def read(self, url: str) -> AsyncIterator[bytes]:
        async with client() as one, one.stream("GET", url) as response:
            async for chunk in response.aiter_bytes(5):
                yield chunk

    def test_gathered_calls_keep_apart(self) -> None:
        """Each of many calls at once continues its own trace and leaves nothing behind."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 24)]

        async def call(one: httpx.AsyncClient, trace_id: str) -> None:
            with current(PropagatedSpan(trace_id, "a2fb4a1d1a96d312", sampled=True)):
                await one.get(f"{self._url}/{trace_id}")

        async def call_all() -> None:
            async with client() as one:
                await asyncio.gather(*(call(one, trace_id) for trace_id in wanted))

        with self.upstream() as upstream:
            asyncio.run(call_all())
        assert sorted(self.recorder.take(CLIENT).trace_id for _ in wanted) == wanted
        assert all(path == f"/{headers['x-b3-traceid']}" for path, headers in upstream.received)


def _steps(loop: asyncio.AbstractEventLoop, chunks: Any) -> Iterator[bytes]:
    async def step() -> bytes | None:
        return await anext(chunks, None)

    while (chunk := loop.run_until_complete(step())) is not None:
        yield chunk
