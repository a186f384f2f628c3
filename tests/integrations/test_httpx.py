"""httpx, synchronous."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from obskit.instrumentation.tracer import tracer
from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.tls import client_context


def client(**options: object) -> httpx.Client:
    """Return a client that uses no proxy of the environment."""
    return httpx.Client(**{"follow_redirects": True, "trust_env": False, "timeout": 10, **options})  # type: ignore[arg-type]


class TestHttpx(HttpClientContract):
    """Patched."""

    integration = "httpx"
    connection_error = httpx.TransportError
    body_error = httpx.RemoteProtocolError
    timeout_error = httpx.TimeoutException
    closes_when_dropped = False

    def get(self, url: str, headers: dict[str, str]) -> int:
        with client() as one:
            return one.get(url, headers=headers).status_code

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        with client() as one, one.stream("GET", url) as response:
            yield response.iter_bytes(5)

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        with client(verify=client_context(), proxy=via, timeout=timeout) as one:
            return one.request(method, url, content=body).content

    def request_twice(self, url: str) -> None:
        with client() as one:
            one.get(url)
            one.get(url)

    def drop(self, url: str) -> None:
        one = client()
        one.send(one.build_request("GET", url), stream=True)

    def test_repeated_headers_stay_repeated(self) -> None:
        headers = [("X-Twice", "1"), ("X-Twice", "2"), ("x-b3-traceid", "old")]
        with self.upstream() as upstream, client() as one:
            one.get(self._url, headers=headers)
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-twice"] == "1,2"
        assert upstream.headers()["x-b3-traceid"] == span.trace_id

    @pytest.mark.parametrize("error", [httpx.ConnectError("mine"), KeyboardInterrupt("mine")])
    def test_exceptions_of_a_transport_pass_as_they_are(self, error: BaseException) -> None:
        def fail(_request: httpx.Request) -> httpx.Response:
            raise error

        with client(transport=httpx.MockTransport(fail)) as one, pytest.raises(type(error)) as raised:
            one.get("http://nowhere/a")
        assert raised.value is error
        assert self.recorder.take(CLIENT, error="mine").tags["http.url"] == "http://nowhere/a"

    def test_response_that_was_read_already_ends_the_span(self) -> None:
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=b"hello"))
        with client(transport=transport) as one:
            response = one.send(one.build_request("GET", "http://nowhere/a"), stream=True)
            self.recorder.take(CLIENT)
            assert response.content == b"hello"

    def test_call_of_an_application_inside_the_process_is_its_own(self) -> None:
        """A transport may serve the request itself; what is called there under another span is another call."""

        def serve(_request: httpx.Request) -> httpx.Response:
            with tracer.start_as_current_span("inside"):
                self.fetch("/a")
            return httpx.Response(200, content=b"hello")

        with self.upstream(), client(transport=httpx.MockTransport(serve)) as one:
            one.get("http://nowhere/a")
        inner, inside, outer = self.recorder.take(CLIENT), self.recorder.take(), self.recorder.take(CLIENT)
        assert [inner.parent_id, inside.parent_id, outer.parent_id] == [inside.span_id, outer.span_id, None]

    def test_iterating_no_further_is_no_error(self) -> None:
        with self.upstream() as upstream:
            with client() as one, one.stream("GET", self._url + "/stream") as response:
                chunks = response.iter_raw()
                next(chunks)
                chunks.close()  # type: ignore[attr-defined]
            upstream.go_on.set()
            self.recorder.take(CLIENT)
