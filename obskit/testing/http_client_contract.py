"""What every HTTP client integration must do, as tests over real sockets. Subclass ``HttpClientContract``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from obskit.testing.client_cases.bodies import BodyCases
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.exchange import ExchangeCases
from obskit.testing.client_cases.headers import HeaderCases
from obskit.testing.client_cases.installation import InstallationCases
from obskit.testing.client_cases.network import NetworkCases
from obskit.testing.client_cases.redirects import RedirectCases
from obskit.testing.client_cases.upstream import Upstream
from obskit.testing.contract import SPAN_ID, current
from obskit.tracing.propagated import PropagatedSpan

Read = Callable[[str], AsyncIterator[bytes]]


class HttpClientContract(ExchangeCases, HeaderCases, BodyCases, RedirectCases, NetworkCases, InstallationCases):
    """Subclass with ``integration``, ``get`` and ``stream``; each test then runs through your library.

    ``connection_error`` is what the library raises when nothing listens, ``body_error`` what it raises when a body
    breaks off; ``below`` names the integrations of libraries that it is built on.

    With ``request`` the tests of bodies, time-outs (which raise ``timeout_error``), TLS and proxies run as well; with
    ``request_twice``, ``retry`` and ``drop`` those of kept connections, of retries and of forgotten responses.
    ``closes_when_dropped`` is False where a forgotten response keeps its connection until a garbage collection.
    """


class AsyncHttpClientContract(HttpClientContract):
    """Subclass with ``session``, too: many calls share it, and some are cancelled."""

    def session(self) -> AbstractAsyncContextManager[Read]:
        """Open a client; give a function that GETs a URL and yields the body in chunks of five bytes."""
        raise NotImplementedError

    def test_gathered_calls_keep_apart(self) -> None:
        """Each of many calls at once continues its own trace and leaves nothing behind."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 24)]

        async def call(read: Read, trace_id: str) -> None:
            with current(PropagatedSpan(trace_id, SPAN_ID, sampled=True)):
                assert [chunk async for chunk in read(f"{self._url}/{trace_id}")] == [b"hello"]

        async def call_all() -> None:
            async with self.session() as read:
                await asyncio.gather(*(call(read, trace_id) for trace_id in wanted))

        with self.upstream() as upstream:
            asyncio.run(call_all())
        assert sorted(self.recorder.take(CLIENT).trace_id for _ in wanted) == wanted
        assert all(path == f"/{headers['x-b3-traceid']}" for path, headers in upstream.received)

    @pytest.mark.parametrize("path", ["/silence", "/stream"])
    def test_cancelled_call_ends_the_span(self, path: str) -> None:
        """Waiting for the response, and in the middle of its body."""
        with self.upstream() as upstream:
            with pytest.raises(asyncio.CancelledError):
                asyncio.run(self._cancel(self._url + path, upstream))
            self.recorder.take(CLIENT, error="CancelledError")
            upstream.go_on.set()

    async def _cancel(self, url: str, upstream: Upstream) -> None:
        async def call() -> None:
            async with self.session() as read:
                async for _ in read(url):
                    reading.set()

        reading = asyncio.Event()
        task = asyncio.create_task(call())
        await (reading.wait() if url.endswith("/stream") else asyncio.to_thread(upstream.asked.wait, 10))
        task.cancel()
        await task
