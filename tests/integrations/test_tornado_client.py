"""Tornado's AsyncHTTPClient."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import tornado
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError

from obskit.base.failures import failures
from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.contract import current
from obskit.tracing.propagated import PropagatedSpan
from tests.installed import need


class TestSimpleTornadoClient(HttpClientContract):
    """Tornado's own."""

    integration = "tornado_client"
    connection_error: ClassVar[type[BaseException]] = OSError
    body_error: ClassVar[type[BaseException]] = HTTPStreamClosedError
    timeout_error: ClassVar[type[BaseException]] = HTTPTimeoutError
    implementation: ClassVar[str] = "simple_httpclient.SimpleAsyncHTTPClient"
    unsupported = {
        "test_connection_is_kept_alive": "SimpleAsyncHTTPClient opens a connection for each request",
        "test_forwarding_proxy_sees_one_traced_request": "SimpleAsyncHTTPClient knows no proxies",
        "test_tunnel_is_neither_traced_nor_told": "SimpleAsyncHTTPClient knows no proxies",
        "test_refused_tunnel_is_an_error": "SimpleAsyncHTTPClient knows no proxies",
    }

    @pytest.fixture(autouse=True)
    def _sockets_left_over(self) -> Iterator[None]:
        """Before 6.6 Tornado leaves sockets to the garbage collector where the loop ends with a request."""
        yield
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()

    def client(self, **options: Any) -> AsyncHTTPClient:
        module, _, name = self.implementation.partition(".")
        return getattr(import_module(f"tornado.{module}"), name)(force_instance=True, **options)  # type: ignore[no-any-return]

    def ask(self, *requests: HTTPRequest) -> HTTPResponse:
        """Send ``requests`` one after another; return the last response, whatever its status."""

        async def call() -> HTTPResponse:
            client = self.client()
            try:
                for request in requests:
                    response = await client.fetch(request, raise_error=False)
                return response
            finally:
                client.close()

        return asyncio.run(call())

    def get(self, url: str, headers: dict[str, str]) -> int:
        return self.ask(HTTPRequest(url, headers=headers)).code

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        """A fetch hands over chunks as they come, and goes on when one looks away."""
        chunks: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

        def read() -> None:
            try:
                self.ask(HTTPRequest(url, streaming_callback=chunks.put, decompress_response=False))
            except BaseException as error:
                chunks.put(error)
            chunks.put(None)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield _taken(chunks)

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        proxy = {"proxy_host": urlsplit(via).hostname, "proxy_port": urlsplit(via).port} if via else {}
        limits = {"connect_timeout": timeout, "request_timeout": timeout}
        return self.ask(HTTPRequest(url, method, body=body, ca_certs=self.certificate, **limits, **proxy)).body  # type: ignore[arg-type]

    def request_twice(self, url: str) -> None:
        self.ask(HTTPRequest(url), HTTPRequest(url))

    def test_dropped_response_ends_the_span_and_the_connection_as_ever(self) -> None:
        """A response is complete when one gets it."""

    def test_the_programs_request_stays_as_it_is(self) -> None:
        """It may be kept, and sent again; the response names it, also after redirects and in errors."""

        async def call() -> HTTPResponse:
            with pytest.raises(HTTPError) as error:
                await self.client().fetch(missing)
            assert error.value.response is not None
            return error.value.response

        with self.upstream() as upstream:
            kept = HTTPRequest(self._url + "/redirect", headers={"X-Mine": "1"})
            missing = HTTPRequest(self._url + "/404")
            assert self.ask(kept, kept).request is kept
            assert asyncio.run(call()).request is missing
            spans = [self.recorder.take(CLIENT, error="404" if n == 4 else None) for n in range(5)]
        assert list(kept.headers) == ["X-Mine"]
        assert [headers["x-b3-spanid"] for _, headers in upstream.received] == [span.span_id for span in spans]

    def test_each_hop_has_its_status(self) -> None:
        with self.upstream():
            self.ask(HTTPRequest(self._url + "/redirect"))
            hops = [self.recorder.take(CLIENT), self.recorder.take(CLIENT)]
        assert [hop.tags["http.status_code"] for hop in hops] == ["302", "200"]

    def test_fetch_that_waits_for_its_turn_is_still_the_callers(self) -> None:
        """It is sent when another one has ended, whose trace it must not join; the same for its redirect."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 6)]

        async def call(client: AsyncHTTPClient, trace_id: str) -> None:
            with current(PropagatedSpan(trace_id, "a2fb4a1d1a96d312", sampled=True)):
                await client.fetch(f"{self._url}/{trace_id}/redirect")

        async def call_all() -> None:
            client = self.client(max_clients=1)
            await asyncio.gather(*(call(client, trace_id) for trace_id in wanted))

        with self.upstream() as upstream:
            asyncio.run(call_all())
        spans = [self.recorder.take(CLIENT) for _ in range(2 * len(wanted))]
        assert sorted(span.trace_id for span in spans) == sorted(2 * wanted)
        hops = [(path, headers["x-b3-traceid"]) for path, headers in upstream.received]
        assert all(path in (f"/{trace_id}/redirect", "/landed") for path, trace_id in hops)

    def test_headers_that_tornado_refuses_are_no_failure_of_ours(self) -> None:
        if self.implementation.startswith("curl") and tornado.version_info < (6, 5):
            pytest.skip("Tornado's curl client checks no header before 6.5")
        before = failures.value
        with self.upstream(), pytest.raises(ValueError, match=r"(?i)header"):
            self.ask(HTTPRequest(self._url, headers={"mine": "a\r\nb: c"}))
        self.recorder.take(CLIENT, error="ValueError")
        assert failures.value == before


class TestCurlTornadoClient(TestSimpleTornadoClient):
    """libcurl below."""

    connection_error = body_error = timeout_error = HTTPError
    implementation = "curl_httpclient.CurlAsyncHTTPClient"
    below = ("pycurl",)
    unsupported = {
        "test_redirect_makes_two_siblings": "libcurl follows redirects itself",
        "test_each_hop_has_its_status": "libcurl follows redirects itself",
        "test_each_hop_of_a_redirect_is_decided_by_its_own_host": "libcurl follows redirects itself",
        "test_the_programs_request_stays_as_it_is": "libcurl follows redirects itself",
        "test_fetch_that_waits_for_its_turn_is_still_the_callers": "libcurl follows redirects itself",
        "test_body_that_breaks_off_is_an_error": "Tornado hands over no status where libcurl fails",
        "test_body_shorter_than_announced_is_an_error": "Tornado hands over no status where libcurl fails",
    }

    @pytest.fixture(autouse=True)
    def _needs_curl(self) -> None:
        need("pycurl")


def _taken(chunks: queue.SimpleQueue[Any]) -> Iterator[bytes]:
    while (chunk := chunks.get(timeout=10)) is not None:
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk
