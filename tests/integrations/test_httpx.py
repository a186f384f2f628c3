"""httpx and httpx2, synchronous."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from obskit.instrumentation.tracer import tracer
from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.tls import client_context
from tests.integrations.httpx_twins import OfHttpx, OfHttpx2, needs_httpx2


class HttpxCases(HttpClientContract):
    """What both libraries, which have the same names for the same things, are held to."""

    library: Any

    def client(self, **options: object) -> Any:
        """Return a client that uses no proxy of the environment."""
        return self.library.Client(**{"follow_redirects": True, "trust_env": False, "timeout": 10, **options})

    def get(self, url: str, headers: dict[str, str]) -> int:
        with self.client() as one:
            return one.get(url, headers=headers).status_code

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        with self.client() as one, one.stream("GET", url) as response:
            yield response.iter_bytes(5)

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        with self.client(verify=client_context(), proxy=via, timeout=timeout) as one:
            return one.request(method, url, content=body).content

    def request_twice(self, url: str) -> None:
        with self.client() as one:
            one.get(url)
            one.get(url)

    def drop(self, url: str) -> None:
        one = self.client()
        one.send(one.build_request("GET", url), stream=True)

    def test_repeated_headers_stay_repeated(self) -> None:
        headers = [("X-Twice", "1"), ("X-Twice", "2"), ("x-b3-traceid", "old")]
        with self.upstream() as upstream, self.client() as one:
            one.get(self._url, headers=headers)
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-twice"] == "1,2"
        assert upstream.headers()["x-b3-traceid"] == span.trace_id

    @pytest.mark.parametrize("own", [True, False])
    def test_exceptions_of_a_transport_pass_as_they_are(self, own: bool) -> None:
        def fail(_request: Any) -> Any:
            raise error

        error = self.library.ConnectError("mine") if own else KeyboardInterrupt("mine")
        with self.client(transport=self.library.MockTransport(fail)) as one, pytest.raises(type(error)) as raised:
            one.get("http://nowhere/a")
        assert raised.value is error
        assert self.recorder.take(CLIENT, error="mine").tags["http.url"] == "http://nowhere/a"

    def test_response_that_was_read_already_ends_the_span(self) -> None:
        transport = self.library.MockTransport(lambda _request: self.library.Response(200, content=b"hello"))
        with self.client(transport=transport) as one:
            response = one.send(one.build_request("GET", "http://nowhere/a"), stream=True)
            self.recorder.take(CLIENT)
            assert response.content == b"hello"

    def test_response_tells_how_long_it_took(self) -> None:
        with self.upstream(), self.client() as one:
            assert one.get(self._url).elapsed.total_seconds() > 0
        self.recorder.take(CLIENT)

    def test_call_of_an_application_inside_the_process_is_its_own(self) -> None:
        """A transport may serve the request itself; what is called there under another span is another call."""

        def serve(_request: Any) -> Any:
            with tracer.start_as_current_span("inside"):
                self.fetch("/a")
            return self.library.Response(200, content=b"hello")

        with self.upstream(), self.client(transport=self.library.MockTransport(serve)) as one:
            one.get("http://nowhere/a")
        inner, inside, outer = self.recorder.take(CLIENT), self.recorder.take(), self.recorder.take(CLIENT)
        assert [inner.parent_id, inside.parent_id, outer.parent_id] == [inside.span_id, outer.span_id, None]

    def test_iterating_no_further_is_no_error(self) -> None:
        with self.upstream() as upstream:
            with self.client() as one, one.stream("GET", self._url + "/stream") as response:
                chunks = response.iter_raw()
                next(chunks)
                chunks.close()  # type: ignore[attr-defined]
            upstream.go_on.set()
            self.recorder.take(CLIENT)


class TestHttpx(OfHttpx, HttpxCases):
    """Patched."""

    closes_when_dropped = False


@needs_httpx2
class TestHttpx2(OfHttpx2, HttpxCases):
    """Patched."""

    closes_when_dropped = True

    @pytest.mark.parametrize("refused", [False, True])
    def test_web_socket_handshake_is_a_span_that_ends_with_it(self, refused: bool) -> None:
        with web_socket_server(refused) as (url, received), self.client() as one:
            if refused:
                from httpx2.websockets import WebSocketUpgradeError

                with pytest.raises(WebSocketUpgradeError), one.websocket(url):
                    pass
            else:
                with one.websocket(url) as socket:
                    span = self.recorder.take(CLIENT)
                    socket.send_text("hello")
                    assert socket.receive_text() == "hello"
                assert (span.tags["http.status_code"], received) == ("101", [span.span_id])
                return
        assert received == [self.recorder.take(CLIENT, error="403").span_id]


@contextmanager
def web_socket_server(refuses: bool) -> Iterator[tuple[str, list[str]]]:
    """A server of the library websockets that echoes; yields its URL and the span ids that arrive."""
    from websockets.sync.server import serve

    received: list[str] = []

    def look(connection: Any, request: Any) -> Any:
        received.append(request.headers["X-B3-SpanId"])
        return connection.respond(403, "no") if refuses else None

    def echo(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, process_request=look) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/", received
        finally:
            server.shutdown()
            thread.join(10)


@needs_httpx2
def test_httpx2_under_the_name_of_httpx_has_one_span_a_call():
    """``httpx2.alias_httpx`` makes ``import httpx`` return httpx2."""
    program = """
import obskit
obskit.init(exporter="none", logs="off")
import httpx2
httpx2.alias_httpx()
import httpx
from obskit.testing import recording
assert httpx is httpx2
with recording() as recorder:
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        client.get("http://nowhere/a")
    recorder.take()
    recorder.assert_empty()
    print("one")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("one\n", "")
