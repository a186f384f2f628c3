"""What every HTTP client integration must do, as tests over real sockets. Subclass ``HttpClientContract``."""

from __future__ import annotations

import gzip
import itertools
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

from obskit.base.failures import failures
from obskit.instrumentation.client import begin
from obskit.instrumentation.tracer import propagator, tracer
from obskit.propagation import mesh
from obskit.propagation.headers import LOWER
from obskit.propagation.mesh import MESH_KEY
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID, Contract, current, installed
from obskit.testing.servers import http_server
from obskit.tracing.current import attach, current_span, detach, get_context, suppressed
from obskit.tracing.propagated import PropagatedSpan

CLIENT = SpanKind.CLIENT


class Upstream:
    """What the test's server received, and when it may send the rest of a streamed body."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.connections: set[tuple[str, int]] = set()
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.client_left = threading.Event()

    def headers(self) -> dict[str, str]:
        """Return the last request's headers, by lower-case name; repeated ones joined by a comma."""
        return self.received[-1][1]


class _UpstreamHandler(BaseHTTPRequestHandler):
    upstream: Upstream
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._receive()
        kind = self.path.split("?")[0].rsplit("/", 1)[-1]
        special = getattr(self, f"_send_{kind}", None)
        if special is not None:
            special()
        elif len(kind) == len("404") and kind.isdecimal():
            self._answer(int(kind), b"" if kind in ("204", "304") else b"hello")
        else:
            self._answer(200, b"hello")

    do_HEAD = do_POST = do_GET

    def _receive(self) -> None:
        joined = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
        self.upstream.received.append((self.path, joined))
        self.upstream.connections.add(self.client_address)
        self.upstream.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        self.upstream.asked.set()

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _send_redirect(self) -> None:
        self._answer(302, b"", Location="/landed")

    def _send_stream(self) -> None:
        self._answer(200, b"first", Content_Length="10")
        assert self.upstream.go_on.wait(10)
        self.wfile.write(b"after")

    def _send_short(self) -> None:
        self._answer(200, b"first", Content_Length="10")
        self.close_connection = True

    def _send_broken(self) -> None:
        self._send_chunks(b"5\r\nfirst\r\n")
        self.close_connection = True

    def _send_chunked(self) -> None:
        self._send_chunks(b"5\r\nfirst\r\n5\r\nafter\r\n0\r\n\r\n")

    def _send_chunks(self, chunks: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(chunks)

    def _send_gzip(self) -> None:
        self._answer(200, gzip.compress(b"hello"), Content_Encoding="gzip")

    def _send_silence(self) -> None:
        self.upstream.go_on.wait(10)
        self.close_connection = True

    def _send_watched(self) -> None:
        self._answer(200, b"first", Content_Length="10")
        try:
            if self.connection.recv(1) == b"":
                self.upstream.client_left.set()
        except ConnectionError:
            self.upstream.client_left.set()
        self.close_connection = True

    def handle(self) -> None:
        """Serve a connection; clients in these tests may disconnect at any time."""
        try:
            super().handle()
        except ConnectionError:
            pass

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def upstream_handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    """Return a handler that answers by the last part of the path: ``/stream``, ``/404``, ``/anything``."""
    return type("UpstreamHandler", (_UpstreamHandler,), {"upstream": upstream})


class _Refusing(dict[str, str]):
    """The headers of a client that refuses invalid values."""

    def __setitem__(self, name: str, value: str) -> None:
        if not value.isprintable():
            raise ValueError(value)
        super().__setitem__(name, value)


class HttpClientContract(Contract):
    """Subclass with ``integration``, ``get`` and ``stream``; each test then runs through your library.

    ``connection_error`` is what the library raises when nothing listens, ``body_error`` what it raises when a body
    breaks off; ``below`` names the integrations of libraries that it is built on.
    """

    connection_error: ClassVar[type[BaseException]]
    body_error: ClassVar[type[BaseException]]
    below: ClassVar[tuple[str, ...]] = ()

    def get(self, url: str, headers: dict[str, str]) -> int:
        """GET ``url``, following redirects, and return the status."""
        raise NotImplementedError

    def stream(self, url: str) -> AbstractContextManager[Iterator[bytes]]:
        """GET ``url``; give its body in two chunks of five bytes, and close it at the end of the block."""
        raise NotImplementedError

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        """Run the server that all requests go to."""
        upstream = Upstream()
        with http_server(upstream_handler(upstream)) as self._url:
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
            assert (span.trace_id, span.parent_id) == (work.trace_id, work.span_id)
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

    def test_span_says_whom_it_calls(self) -> None:
        """Host and port are those of the URL: Zipkin draws services that are not traced from them."""
        with self.upstream():
            self.get(self._url.replace("127.0.0.1", "localhost") + "/a", {})
            span = self.recorder.take(CLIENT)
        assert span.remote_endpoint == ("localhost", int(self._url.rpartition(":")[2]))

    def test_denied_trace_is_passed_on_unrecorded(self) -> None:
        """The receiver is told not to sample, and nothing is recorded here."""
        with self.upstream() as upstream, current(PropagatedSpan(TRACE_ID, SPAN_ID, sampled=False)):
            self.fetch("/a")
        assert (upstream.headers()["x-b3-traceid"], upstream.headers()["x-b3-sampled"]) == (TRACE_ID, "0")
        self.recorder.assert_empty()

    def test_debug_is_passed_on(self) -> None:
        """Debug travels as Flags, and marks the client span."""
        with self.upstream() as upstream, current(PropagatedSpan(TRACE_ID, SPAN_ID, sampled=True, debug=True)):
            self.fetch("/a")
        assert self.recorder.take(CLIENT).debug
        assert upstream.headers()["x-b3-flags"] == "1"
        assert "x-b3-sampled" not in upstream.headers()

    def test_mesh_headers_are_copied_unless_the_caller_set_them(self) -> None:
        """Headers of the incoming request are copied; a value that the caller set is kept."""
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
        """W3C and single-header B3 are sent instead, if chosen; an older context set by the caller is removed."""
        propagator.use(["b3", "w3c"])
        with self.upstream() as upstream:
            self.fetch("/a", Traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01", Tracestate="old=1")
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["b3"] == f"{span.trace_id}-{span.span_id}-1"
        assert upstream.headers()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
        assert not {"x-b3-traceid", "tracestate"} & upstream.headers().keys()

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
        assert [hop.parent_id for hop in hops] == [work.span_id] * 2
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
        """Closing a response that was not read to its end ends the span."""
        with self.upstream() as upstream:
            with self.stream(self._url + "/stream") as chunks:
                assert next(chunks) == b"first"
            upstream.go_on.set()
            self.recorder.take(CLIENT)

    def test_concurrent_calls_keep_apart(self) -> None:
        """Calls of many threads at once each continue their own trace."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 24)]

        def call(trace_id: str) -> None:
            with current(PropagatedSpan(trace_id, SPAN_ID, sampled=True)):
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

    def test_older_context_of_the_caller_goes_wholly(self) -> None:
        """A gateway that forwards all received headers sends only the new context, not a mixture of both."""
        older = {"b3": f"{TRACE_ID}-{SPAN_ID}-1", "x-b3-parentspanid": SPAN_ID, "X-B3-Flags": "1", **B3}
        with self.upstream() as upstream:
            self.fetch("/a", **older)
            span = self.recorder.take(CLIENT)
        sent = {name: value for name, value in upstream.headers().items() if "b3" in name}
        assert sent == {"x-b3-traceid": span.trace_id, "x-b3-spanid": span.span_id, "x-b3-sampled": "1"}

    def test_a_name_in_two_spellings_arrives_once(self) -> None:
        """Header names ignore case, a dict does not: receivers disagree on which of two values counts."""
        propagator.use(["b3multi", "w3c"])
        older = {"x-b3-traceid": "a" * 32, "X-B3-TraceId": "b" * 32, "TraceParent": "1", "traceparent": "2"}
        with self.upstream() as upstream:
            self.fetch("/a", **older)
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-b3-traceid"] == span.trace_id
        assert upstream.headers()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"

    def test_what_the_mesh_sent_of_a_context_that_is_written_is_not_copied(self) -> None:
        """There is one traceparent, with its own tracestate."""
        propagator.use(["w3c"])
        meshed = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "old=1", "x-request-id": "in"}
        token = attach(Context({**get_context(), MESH_KEY: meshed}))
        try:
            with self.upstream() as upstream:
                self.fetch("/a")
                span = self.recorder.take(CLIENT)
        finally:
            detach(token)
        assert upstream.headers()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
        assert "tracestate" not in upstream.headers()
        assert upstream.headers()["x-request-id"] == "in"

    @pytest.mark.parametrize("value", ["a\x0bb", "caf\xe9", "a\r\n b", "a\tb", "\x7f", "\u20ac", "x" * 5000])
    @pytest.mark.parametrize("name", ["x-request-id", "sw8"])
    def test_what_a_caller_sent_never_makes_a_call_fail(self, name: str, value: str) -> None:
        """A header that a client refuses is left out alone: the call succeeds, traced, with all others."""
        found = mesh.extract({name: value, "x-ot-span-context": "o"}, LOWER, {name, "x-ot-span-context"})
        token = attach(Context({**get_context(), MESH_KEY: found}))
        try:
            with self.upstream() as upstream:
                assert self.fetch("/a") == 200
                span = self.recorder.take(CLIENT)
        finally:
            detach(token)
        assert upstream.headers()["x-b3-traceid"] == span.trace_id
        assert (name in upstream.headers(), upstream.headers()["x-ot-span-context"]) == (False, "o")

    def test_a_header_that_is_refused_costs_the_others_nothing(self) -> None:
        """An invalid value among the headers that are copied does not cost the others."""
        token = attach(Context({**get_context(), MESH_KEY: {"x-request-id": "a\nb", "x-ot-span-context": "o"}}))
        try:
            exchange = begin("GET", "http://h/", headers := _Refusing())
        finally:
            detach(token)
        assert exchange is not None
        exchange.finish()
        span = self.recorder.take(CLIENT)
        assert (headers["X-B3-TraceId"], headers["x-ot-span-context"]) == (span.trace_id, "o")

    def test_userinfo_is_not_recorded(self) -> None:
        """User and password of a URL are in no tag."""
        with self.upstream():
            self.get(self._url.replace("//", "//user:secret@") + "/a", {})
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == f"{self._url}/a"
        assert "secret" not in str(span.tags)

    def test_response_without_a_body_ends_the_span(self) -> None:
        """204 and 304 have no body to wait for."""
        with self.upstream():
            for status in (204, 304):
                assert self.fetch(f"/{status}") == status
                assert self.recorder.take(CLIENT).tags["http.status_code"] == str(status)

    @pytest.mark.parametrize("kind", ["chunked", "gzip"])
    def test_encoded_body_ends_the_span(self, kind: str) -> None:
        """Neither transfer nor content encoding hides the end of a body."""
        with self.upstream():
            assert self.fetch(f"/{kind}") == 200
            self.recorder.take(CLIENT)

    def test_body_that_breaks_off_is_an_error(self) -> None:
        """The library's exception reaches the caller, and the span says what it was."""
        self._break_off("/broken")

    def test_body_shorter_than_announced_is_an_error(self) -> None:
        """The same where only Content-Length shows that something is missing."""
        self._break_off("/short")

    def _break_off(self, path: str) -> None:
        with self.upstream(), pytest.raises(self.body_error), self.stream(self._url + path) as chunks:
            list(chunks)
        span = self.recorder.take(CLIENT, error="")
        assert span.tags["http.status_code"] == "200"

    def test_failure_of_the_caller_while_reading_is_not_the_spans(self) -> None:
        """An exception that the application raises between two chunks is not an error of the call."""
        with self.upstream() as upstream:
            with pytest.raises(OSError, match="mine"):
                self._fail_while_reading()
            upstream.go_on.set()
            self.recorder.take(CLIENT)

    def _fail_while_reading(self) -> None:
        with self.stream(self._url + "/stream") as chunks:
            next(chunks)
            raise OSError("mine")

    def test_call_while_an_exception_is_handled_is_no_error(self) -> None:
        """A call made in an except block does not get that exception as its error, even one of a socket."""
        here, there = socket.socketpair()
        with self.upstream(), here, there, here.makefile("rb") as file:
            here.settimeout(0.001)
            try:
                file.read(1)
            except TimeoutError:
                self.fetch("/a")
            self.recorder.take(CLIENT)

    def test_failure_of_ours_is_not_the_callers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If tracing itself fails, the call is made all the same, and the failure is counted."""
        monkeypatch.setattr(tracer, "start", None)
        before = failures.value
        with self.upstream():
            assert self.fetch("/a") == 200
        assert failures.value > before

    def test_failure_to_write_headers_leaves_call_and_span(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The span is recorded even if its headers cannot be sent."""
        monkeypatch.setattr(propagator, "inject_span", None)
        with self.upstream() as upstream:
            assert self.fetch("/a") == 200
            self.recorder.take(CLIENT)
        assert "x-b3-traceid" not in upstream.headers()

    def test_layers_below_add_no_span(self) -> None:
        """If libraries that it is built on are instrumented too, one call is still one span."""
        with self.upstream() as upstream:
            for layers in subsets(self.below):
                with installed(layers):
                    self.fetch("/a")
                    span = self.recorder.take(CLIENT)
                    self.recorder.assert_empty()
                assert upstream.headers()["x-b3-spanid"] == span.span_id

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


def subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield every choice of ``names``, from none to all."""
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))
