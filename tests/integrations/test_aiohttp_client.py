"""aiohttp's client."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from obskit.testing import AsyncHttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.tls import client_context
from obskit.testing.http_client_contract import Read


class TestAiohttpClient(AsyncHttpClientContract):
    """Patched."""

    integration = "aiohttp_client"
    connection_error = aiohttp.ClientError
    body_error = aiohttp.ClientPayloadError
    timeout_error = asyncio.TimeoutError

    def get(self, url: str, headers: dict[str, str]) -> int:
        async def call() -> int:
            async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
                await response.read()
                return response.status

        return asyncio.run(call())

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        loop = asyncio.new_event_loop()
        session = loop.run_until_complete(_session())
        request = session.get(url)
        try:
            response = loop.run_until_complete(request.__aenter__())
            try:
                yield _steps(loop, response.content.iter_chunked(5))
            except BaseException as error:
                loop.run_until_complete(request.__aexit__(type(error), error, error.__traceback__))
                raise
            else:
                loop.run_until_complete(request.__aexit__(None, None, None))
        finally:
            loop.run_until_complete(session.close())
            loop.close()

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        limit = aiohttp.ClientTimeout(total=timeout)

        async def call() -> bytes:
            async with aiohttp.ClientSession(timeout=limit) as session:
                options = {"ssl": client_context()} if url.startswith("https") else {}
                async with session.request(method, url, data=body, proxy=via, **options) as response:
                    return await response.read()

        return asyncio.run(call())

    def test_request_that_cannot_be_sent_is_an_error(self) -> None:
        """aiohttp refuses the header when it has a connection already."""
        with self.upstream(), pytest.raises(ValueError, match="header"):
            self.fetch("/a", mine="a\r\nb: c")
        self.recorder.take(CLIENT, error="ValueError")

    def request_twice(self, url: str) -> None:
        async def call() -> None:
            async with aiohttp.ClientSession() as session:
                for _ in range(2):
                    async with session.get(url) as response:
                        await response.read()

        asyncio.run(call())

    def test_dropped_response_ends_the_span_and_the_connection_as_ever(self) -> None:
        """aiohttp's connection knows the response that it receives: a dropped one is over when its session is."""

        async def call() -> None:
            session = aiohttp.ClientSession()
            await session.get(self._url + "/stream")
            gc.collect()
            self.recorder.assert_empty()
            await session.close()

        with self.upstream() as upstream:
            asyncio.run(call())
            upstream.go_on.set()
        gc.collect()
        self.recorder.take(CLIENT)

    def test_web_socket_handshake_is_a_span_that_ends_with_it(self) -> None:
        async def echo(request: web.Request) -> web.WebSocketResponse:
            received.append(request.headers["X-B3-SpanId"])
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str(await socket.receive_str())
            return socket

        async def call() -> None:
            async with serving(echo) as url, aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
                span = self.recorder.take(CLIENT)
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello"
            assert (span.tags["http.status_code"], received) == ("101", [span.span_id])

        received: list[str] = []
        asyncio.run(call())

    def test_refused_web_socket_handshake_is_an_error(self) -> None:
        async def call() -> None:
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect(self._url + "/404")

        with self.upstream():
            asyncio.run(call())
        self.recorder.take(CLIENT, error="404")

    def test_each_try_is_a_span(self) -> None:
        """aiohttp asks again where a connection that it kept turns out to be closed."""

        async def close_the_second(request: web.Request) -> web.Response:
            spans.append(request.headers["X-B3-SpanId"])
            if len(spans) == 2:
                assert request.transport is not None
                request.transport.abort()
            return web.Response()

        async def call() -> None:
            async with serving(close_the_second) as url, aiohttp.ClientSession() as session:
                for _ in range(2):
                    async with session.get(url):
                        pass

        spans: list[str] = []
        asyncio.run(call())
        taken = [self.recorder.take(CLIENT), self.recorder.take(CLIENT, error=""), self.recorder.take(CLIENT)]
        assert [span.span_id for span in taken] == spans

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Read]:
        async with aiohttp.ClientSession() as session:

            async def read(url: str) -> AsyncIterator[bytes]:
                async with session.get(url) as response:
                    async for chunk in response.content.iter_chunked(5):
                        yield chunk

            yield read

    def test_another_try_within_the_handling_of_an_error_is_not_blamed_for_it(self) -> None:
        async def call() -> None:
            async with aiohttp.ClientSession() as session:
                try:
                    async with session.get(self._url + "/broken") as response:
                        await response.read()
                except aiohttp.ClientPayloadError:
                    async with session.get(self._url + "/stream") as response:
                        await response.content.read(5)

        with self.upstream() as upstream:
            asyncio.run(call())
            upstream.go_on.set()
        self.recorder.take(CLIENT, error="ClientPayloadError")
        self.recorder.take(CLIENT)

    def test_a_response_that_is_complete_before_its_request_is_no_error(self) -> None:
        """The server does not wait for the body, whose sending aiohttp then cancels: before 3.12 at once."""

        async def answer(_request: web.BaseRequest) -> web.Response:
            return web.Response(text="hello")

        async def call() -> None:
            async with serving(answer) as url, aiohttp.ClientSession() as session:
                async with session.post(url, data=io.BytesIO(bytes(10_000_000))) as response:
                    assert await response.read() == b"hello"
                self.recorder.take(CLIENT)

        asyncio.run(call())

    def test_headers_of_the_session_stay_as_they_are(self) -> None:
        """A session is for many traces."""

        async def call() -> list[str]:
            async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session, session.get(self._url + "/a"):
                return list(session.headers)

        with self.upstream():
            assert asyncio.run(call()) == ["X-Mine"]
        self.recorder.take(CLIENT)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """Serve every path with ``handler`` in the running loop."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


def _steps(loop: asyncio.AbstractEventLoop, chunks: Any) -> Iterator[bytes]:
    async def step() -> bytes | None:
        return await anext(chunks, None)

    while (chunk := loop.run_until_complete(step())) is not None:
        yield chunk
