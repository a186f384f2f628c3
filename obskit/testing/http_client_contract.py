"""What every HTTP client integration owes, as tests over real sockets. Subclass it; see ``HttpClientContract``."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.tracer import propagator, tracer
from obskit.integrations import install
from obskit.propagation.mesh import MESH_KEY
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID, Contract
from obskit.testing.servers import http_server
from obskit.tracing.current import attach, current_span, detach, get_context, suppressed, with_span
from obskit.tracing.propagated import PropagatedSpan

CLIENT = SpanKind.CLIENT


class _Upstream:
    """What the test's server received, and when it may send the rest of a streamed body."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str]]] = []
        self.go_on = threading.Event()

    def headers(self) -> dict[str, str]:
        """Return the last request's headers, by lower-case name."""
        return self.received[-1][1]


def _handler(upstream: _Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            upstream.received.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            kind = self.path.split("?")[0].rsplit("/", 1)[-1]
            if kind == "stream":
                self._stream()
            elif kind == "redirect":
                self._answer(302, b"", Location="/landed")
            else:
                self._answer(int(kind) if len(kind) == len("404") and kind.isdecimal() else 200, b"hello")

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"first")
            assert upstream.go_on.wait(10)
            self.wfile.write(b"after")

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    return Handler


class HttpClientContract(Contract):
    """Subclass with ``integration``, ``get`` and ``stream``; each test then runs through your library.

    ``connection_error`` is what the library raises when nobody listens; ``below`` names integrations it rests on.
    """

    connection_error: ClassVar[type[BaseException]]
    below: ClassVar[tuple[str, ...]] = ()

    def get(self, url: str, headers: dict[str, str]) -> int:
        """GET ``url``, following redirects, and return the status."""
        raise NotImplementedError

    def stream(self, url: str) -> AbstractContextManager[Iterator[bytes]]:
        """GET ``url``; give its body in two chunks of five bytes, and close it at the end of the block."""
        raise NotImplementedError

    @contextmanager
    def upstream(self) -> Iterator[_Upstream]:
        """Run the server that all requests go to."""
        upstream = _Upstream()
        with http_server(_handler(upstream)) as self._url:
            try:
                yield upstream
            finally:
                upstream.go_on.set()

    def fetch(self, path: str, **headers: str) -> int:
        """GET a path of the server."""
        return self.get(self._url + path, headers)

    def test_call_outside_a_trace_starts_one(self) -> None:
        """The client span is a root, and its ids are what the receiver gets."""
        with self.upstream() as upstream:
            assert self.fetch("/a") == 200
            span = self.recorder.take(CLIENT)
        assert span.parent_id is None
        assert (upstream.headers()["x-b3-traceid"], upstream.headers()["x-b3-spanid"]) == (span.trace_id, span.span_id)
        assert upstream.headers()["x-b3-sampled"] == "1"

    def test_call_in_a_span_is_its_child(self) -> None:
        """Parent, child and what is sent agree; afterwards the parent is current again."""
        with self.upstream() as upstream, tracer.start_as_current_span("work") as work:
            self.fetch("/a")
            span = self.recorder.take(CLIENT)
            assert current_span() is work
            assert (span.trace_id, span.parent_id) == (work.trace_id, work.span_id)  # type: ignore[attr-defined]
            assert upstream.headers()["x-b3-parentspanid"] == span.parent_id
        self.recorder.take()

    def test_span_has_name_and_tags(self) -> None:
        """Method, URL, host, path and status are tagged, without the query; the name is the method."""
        with self.upstream():
            self.fetch("/a/b?secret=1")
            span = self.recorder.take(CLIENT)
        host = self._url.removeprefix("http://")
        assert span.name == "GET"
        assert span.tags == {
            "http.method": "GET",
            "http.url": f"{self._url}/a/b",
            "http.host": host,
            "http.path": "/a/b",
            "http.status_code": "200",
        }

    def test_denied_trace_is_passed_on_unrecorded(self) -> None:
        """The receiver is told not to sample, and nothing is recorded here."""
        with self.upstream() as upstream, _current(PropagatedSpan(TRACE_ID, SPAN_ID, sampled=False)):
            self.fetch("/a")
        assert (upstream.headers()["x-b3-traceid"], upstream.headers()["x-b3-sampled"]) == (TRACE_ID, "0")
        self.recorder.assert_empty()

    def test_debug_is_passed_on(self) -> None:
        """Debug travels as Flags, and marks the client span."""
        with self.upstream() as upstream, _current(PropagatedSpan(TRACE_ID, SPAN_ID, sampled=True, debug=True)):
            self.fetch("/a")
        assert self.recorder.take(CLIENT).debug
        assert upstream.headers()["x-b3-flags"] == "1"
        assert "x-b3-sampled" not in upstream.headers()

    def test_mesh_headers_are_copied_unless_the_caller_set_them(self) -> None:
        """What came in goes out; a value of the caller's own stands."""
        meshed = Context({**get_context(), MESH_KEY: {"x-request-id": "in", "x-ot-span-context": "o"}})
        token = attach(meshed)
        try:
            with self.upstream() as upstream:
                self.fetch("/a", **{"X-Request-Id": "mine"})
                self.recorder.take(CLIENT)
        finally:
            detach(token)
        assert (upstream.headers()["x-request-id"], upstream.headers()["x-ot-span-context"]) == ("mine", "o")

    def test_other_formats_can_be_sent(self) -> None:
        """W3C and single-header B3 go out instead, if chosen."""
        propagator.use(["b3", "w3c"])
        with self.upstream() as upstream:
            self.fetch("/a")
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["b3"] == f"{span.trace_id}-{span.span_id}-1"
        assert upstream.headers()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
        assert "x-b3-traceid" not in upstream.headers()

    def test_error_status_is_an_error(self) -> None:
        """From 400 on the status is the error, as in Brave; the caller gets it unchanged."""
        with self.upstream():
            for status in (404, 500):
                assert self.fetch(f"/{status}") == status
                assert self.recorder.take(CLIENT, error=str(status)).tags["http.status_code"] == str(status)

    def test_redirect_makes_two_siblings(self) -> None:
        """Each hop is a span of its own below the caller's, not one below the other."""
        with self.upstream() as upstream, tracer.start_as_current_span("work") as work:
            assert self.fetch("/redirect") == 200
            hops = [self.recorder.take(CLIENT), self.recorder.take(CLIENT)]
            sent = [headers["x-b3-spanid"] for _, headers in upstream.received]
        self.recorder.take()
        assert [hop.parent_id for hop in hops] == [work.span_id] * 2  # type: ignore[attr-defined]
        assert [hop.tags["http.path"] for hop in hops] == ["/redirect", "/landed"]
        assert sent == [hop.span_id for hop in hops]

    def test_transport_error_is_tagged_and_unchanged(self) -> None:
        """The library's own exception reaches the caller; the span ends with it."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/a"
            with pytest.raises(self.connection_error):
                self.get(url, {})
        span = self.recorder.take(CLIENT, error="")
        assert "http.status_code" not in span.tags

    def test_span_covers_a_streamed_body(self) -> None:
        """The span ends when the body is over, though it is not current meanwhile."""
        with self.upstream() as upstream:
            with self.stream(self._url + "/stream") as chunks:
                assert next(chunks) == b"first"
                self.recorder.assert_empty()
                assert not current_span().is_recording()
                upstream.go_on.set()
                assert next(chunks) == b"after"
            self.recorder.take(CLIENT)

    def test_abandoned_body_ends_the_span(self) -> None:
        """Closing a response that was not read to its end is an end too."""
        with self.upstream() as upstream:
            with self.stream(self._url + "/stream") as chunks:
                assert next(chunks) == b"first"
            upstream.go_on.set()
            self.recorder.take(CLIENT)

    def test_concurrent_calls_keep_apart(self) -> None:
        """Calls of many threads at once each continue their own trace."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 24)]

        def call(trace_id: str) -> None:
            with _current(PropagatedSpan(trace_id, SPAN_ID, sampled=True)):
                self.fetch(f"/{trace_id}")

        with self.upstream() as upstream, ThreadPoolExecutor(8) as pool:
            list(pool.map(call, wanted))
        assert sorted(self.recorder.take(CLIENT).trace_id for _ in wanted) == wanted
        assert all(path == f"/{headers['x-b3-traceid']}" for path, headers in upstream.received)

    def test_suppressed_call_is_left_alone(self) -> None:
        """Where OpenTelemetry's suppression is on (our own exporter), nothing is traced or sent."""
        token = attach(suppressed())
        try:
            with self.upstream() as upstream:
                self.fetch("/a")
        finally:
            detach(token)
        assert not any(name.startswith("x-b3") for name in upstream.headers())

    def test_headers_of_the_caller_survive(self) -> None:
        """The caller's own headers arrive; an older trace context among them is replaced."""
        with self.upstream() as upstream:
            self.fetch("/a", **{"X-Mine": "1", **{name.lower(): value for name, value in B3.items()}})
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-mine"] == "1"
        assert upstream.headers()["x-b3-traceid"] == span.trace_id

    def test_layers_below_add_no_span(self) -> None:
        """With every library it rests on instrumented too, one call is one span."""
        patches, hooks = Patches(), ImportHooks()
        install(self.below, hooks, patches)
        try:
            with self.upstream() as upstream:
                self.fetch("/a")
                span = self.recorder.take(CLIENT)
            assert upstream.headers()["x-b3-spanid"] == span.span_id
        finally:
            hooks.remove()
            patches.remove()

    def test_installing_twice_makes_one_span(self) -> None:
        """A second installation changes nothing."""
        self.install()
        with self.upstream():
            self.fetch("/a")
            self.recorder.take(CLIENT)

    def test_uninstalled_library_is_not_traced(self) -> None:
        """After removal calls are made without a span or headers."""
        self.uninstall()
        with self.upstream() as upstream:
            self.fetch("/a")
        assert "x-b3-traceid" not in upstream.headers()


@contextmanager
def _current(span: PropagatedSpan) -> Iterator[None]:
    token = attach(with_span(span))
    try:
        yield
    finally:
        detach(token)
