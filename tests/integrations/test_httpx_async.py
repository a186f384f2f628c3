"""httpx and httpx2, asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from obskit.testing import AsyncHttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.tls import client_context
from obskit.testing.http_client_contract import Read
from tests.integrations.httpx_twins import OfHttpx, OfHttpx2, needs_httpx2


class AsyncHttpxCases(AsyncHttpClientContract):
    """What both libraries, which have the same names for the same things, are held to."""

    library: Any
    closes_when_dropped = False

    def client(self, **options: object) -> Any:
        """Return a client that uses no proxy of the environment."""
        return self.library.AsyncClient(**{"follow_redirects": True, "trust_env": False, "timeout": 10, **options})

    def get(self, url: str, headers: dict[str, str]) -> int:
        async def call() -> int:
            async with self.client() as one:
                return (await one.get(url, headers=headers)).status_code

        return asyncio.run(call())

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        loop = asyncio.new_event_loop()
        one = self.client()
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
            async with self.client(verify=client_context(), proxy=via, timeout=timeout) as one:
                return (await one.request(method, url, content=body)).content

        return asyncio.run(call())

    def request_twice(self, url: str) -> None:
        async def call() -> None:
            async with self.client() as one:
                await one.get(url)
                await one.get(url)

        asyncio.run(call())

    def drop(self, url: str) -> None:
        async def call() -> None:
            one = self.client()
            await one.send(one.build_request("GET", url), stream=True)

        asyncio.run(call())

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Read]:
        async with self.client() as one:

            async def read(url: str) -> AsyncIterator[bytes]:
                async with one.stream("GET", url) as response:
                    async for chunk in response.aiter_bytes(5):
                        yield chunk

            yield read

    def test_response_tells_how_long_it_took(self) -> None:
        async def call() -> Any:
            async with self.client() as one:
                return await one.get(self._url)

        with self.upstream():
            assert asyncio.run(call()).elapsed.total_seconds() > 0
        self.recorder.take(CLIENT)


class TestAsyncHttpx(OfHttpx, AsyncHttpxCases):
    """Patched."""


@needs_httpx2
class TestAsyncHttpx2(OfHttpx2, AsyncHttpxCases):
    """Patched."""


def _steps(loop: asyncio.AbstractEventLoop, chunks: Any) -> Iterator[bytes]:
    async def step() -> bytes | None:
        return await anext(chunks, None)

    while (chunk := loop.run_until_complete(step())) is not None:
        yield chunk
