"""What every HTTP server integration must do, as tests over real sockets. Subclass ``HttpServerContract``."""

from __future__ import annotations

import gc
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from opentelemetry.trace import SpanKind

from obskit.base.failures import failures
from obskit.instrumentation.tracer import provider
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID, Contract, installed
from obskit.testing.http_site import Site

__all__ = ["SERVER", "HttpServerContract", "Site"]

SERVER = SpanKind.SERVER
_GIANT = "4" * 12_000  # uvicorn refuses a head of over 16 KiB that does not come in one piece
_LARGE = b"x" * 300_000
_HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # RFC 6455, section 1.2
}


def _soon(condition: Callable[[], bool]) -> bool:
    """Wait until ``condition`` holds; return whether it did within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class HttpServerContract(Contract):
    """Subclass with ``integration`` and ``serve``; each test then runs against your application.

    ``route`` is ``/items/{name}`` in the framework's notation, or None if it has no routes.
    ``client_gone`` is what the span says of a client that left, None if nothing; ``notices_clients`` says whether the
    framework stops a stream to one: otherwise the span lasts as long as the stream.
    """

    route: ClassVar[str | None] = "/items/{name}"
    client_gone: ClassVar[str | None] = None
    notices_clients: ClassVar[bool] = True

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve ``site.item(name)`` at /items/NAME and ``site.stream()`` at /stream; yield the base URL."""
        raise NotImplementedError

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Serve a Site for the length of the block."""
        self._site = Site()
        with self.serve(self._site) as url:
            self._netloc = urlsplit(url).netloc
            try:
                yield self._site
            finally:
                self._site.endless = False
                self._site.go_on.set()

    def get(self, path: str, *headers: tuple[str, str], method: str = "GET") -> tuple[int, str]:
        """Send one request; headers may be repeated. Return status and text."""
        connection = http.client.HTTPConnection(self._netloc, timeout=10)
        try:
            connection.putrequest(method, path)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def answer(self, method: str, path: str) -> tuple[int, object]:
        """Send one request; return the status, and all of the response except its date."""
        connection = http.client.HTTPConnection(self._netloc, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            headers = [item for item in response.getheaders() if item[0].lower() != "date"]
            return response.status, (response.version, response.reason, headers, response.read())
        finally:
            connection.close()

    def test_request_without_headers_starts_a_trace(self) -> None:
        """The server span is a root with a 128-bit id, and current in the handler."""
        with self.site():
            status, text = self.get("/items/apple")
            span = self.recorder.take(SERVER)
        assert (status, text) == (200, span.trace_id)
        assert len(span.trace_id) == 32
        assert span.parent_id is None

    def test_span_has_name_and_tags(self) -> None:
        """Method, path without query, route and status are tagged; the name is method and route."""
        with self.site():
            self.get("/items/apple?secret=1")
            span = self.recorder.take(SERVER)
        expected = {"http.method": "GET", "http.path": "/items/apple", "http.status_code": "200"}
        expected |= {"http.route": self.route} if self.route else {}
        assert span.tags == expected
        assert span.name == (f"GET {self.route}" if self.route else "GET")
        assert span.remote_endpoint is not None
        assert span.remote_endpoint[0] == "127.0.0.1"

    def test_path_is_tagged_as_people_read_it(self) -> None:
        """Percent-encoding and the Latin-1 of PEP 3333 are undone."""
        with self.site():
            self.get("/items/%C3%A4pfel%20rot")
            assert self.recorder.take(SERVER).tags["http.path"] == "/items/äpfel rot"

    def test_multi_header_context_is_continued(self) -> None:
        """The span is a child of the caller's, in its trace."""
        with self.site():
            self.get("/items/apple", *B3.items(), ("X-B3-Sampled", "1"))
            span = self.recorder.take(SERVER)
        assert (span.trace_id, span.parent_id) == (TRACE_ID, SPAN_ID)
        assert span.span_id != SPAN_ID

    def test_64_bit_single_header_context_is_continued_unchanged(self) -> None:
        """A 64-bit trace id stays one."""
        with self.site():
            _, text = self.get("/items/apple", ("b3", f"{TRACE_ID[:16]}-{SPAN_ID}"))
            span = self.recorder.take(SERVER)
        assert span.trace_id == text == TRACE_ID[:16]

    def test_w3c_context_is_continued_when_b3_is_absent(self) -> None:
        """A traceparent alone is enough."""
        with self.site():
            self.get("/items/apple", ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"))
            assert self.recorder.take(SERVER).parent_id == SPAN_ID

    def test_denied_trace_is_not_recorded_but_goes_on(self) -> None:
        """Nothing is recorded, the handler still knows its trace, and the next hop gets the decision."""
        with self.site() as site:
            _, text = self.get("/items/apple", *B3.items(), ("X-B3-Sampled", "0"))
            self.recorder.assert_empty()
            assert text == TRACE_ID
            assert (site.next_hop["X-B3-TraceId"], site.next_hop["X-B3-Sampled"]) == (TRACE_ID, "0")

    def test_lone_deny_is_honoured(self) -> None:
        """``b3: 0`` without ids is a decision, too."""
        with self.site() as site:
            self.get("/items/apple", ("b3", "0"))
            self.recorder.assert_empty()
            assert site.next_hop["X-B3-Sampled"] == "0"

    def test_debug_survives_to_the_next_hop(self) -> None:
        """The flag marks the span and is passed on, as Flags alone."""
        with self.site() as site:
            self.get("/items/apple", *B3.items(), ("X-B3-Flags", "1"))
            span = self.recorder.take(SERVER)
        assert span.debug
        assert site.next_hop["X-B3-Flags"] == "1"
        assert "X-B3-Sampled" not in site.next_hop

    def test_next_hop_is_a_child_and_mesh_headers_are_copied(self) -> None:
        """The parent of an outbound call is the server span, and the mesh's headers are copied."""
        with self.site() as site:
            self.get("/items/apple", ("x-request-id", "r-1"), ("x-ot-span-context", "o-1"))
            span = self.recorder.take(SERVER)
        assert site.next_hop["X-B3-SpanId"] == span.span_id
        assert (site.next_hop["x-request-id"], site.next_hop["x-ot-span-context"]) == ("r-1", "o-1")

    def test_malformed_headers_start_a_trace(self) -> None:
        """Whatever is wrong with the headers, the request is served, in a trace of its own."""
        cases = [
            [("X-B3-TraceId", "not hex"), ("X-B3-SpanId", SPAN_ID)],
            [("X-B3-TraceId", TRACE_ID)],
            [("b3", "-"), ("traceparent", "00-0-0-0")],
            [("b3", _GIANT)],
            [*B3.items(), ("X-B3-TraceId", TRACE_ID[::-1])],
        ]
        with self.site():
            for headers in cases:
                status, _ = self.get("/items/apple", *headers)
                span = self.recorder.take(SERVER)
                assert (status, span.parent_id) == (200, None)
                assert span.trace_id != TRACE_ID

    def test_error_status_is_an_error(self) -> None:
        """From 400 on the status is the error, as in Brave."""
        with self.site():
            for status in (400, 503):
                assert self.get(f"/items/{status}")[0] == status
                span = self.recorder.take(SERVER, error=str(status))
                assert span.tags["http.status_code"] == str(status)

    def test_unmatched_path_is_not_found(self) -> None:
        """Paths that are not served share one name."""
        with self.site():
            assert self.get("/nowhere/17")[0] == 404
            span = self.recorder.take(SERVER, error="404")
        assert span.name == ("GET not_found" if self.route else "GET")

    def test_exception_is_tagged(self) -> None:
        """The span says what was raised, and which status the caller got."""
        with self.site():
            assert self.get("/items/raise")[0] == 500
            span = self.recorder.take(SERVER, error="ValueError: no such luck")
        assert span.tags["http.status_code"] == "500"
        assert span.name == (f"GET {self.route}" if self.route else "GET")

    def test_responses_are_those_of_the_uninstrumented_application(self) -> None:
        """Status, reason, headers in order, Content-Length and body are equal, whatever the kind of response."""
        cases = [("GET", "/items/same"), ("HEAD", "/items/same"), ("POST", "/items/same"), ("GET", "/nowhere")]
        cases += [("GET", "/items/raise")]
        with self.site():
            traced = []
            for case in cases:
                traced.append(self.answer(*case))
                status = traced[-1][0]
                self.recorder.take(SERVER, error={200: None, 500: "ValueError"}.get(status, str(status)))
            self.uninstall()
            assert [self.answer(*case) for case in cases] == traced

    def test_sleuths_span_name_is_used_where_there_is_no_route(self) -> None:
        """Spring Cloud Sleuth 1.x sends a span name; a route takes precedence."""
        with self.site():
            self.get("/items/apple", ("X-Span-Name", "http:/orders"))
            span = self.recorder.take(SERVER)
        assert span.name == (f"GET {self.route}" if self.route else "http:/orders")

    def test_strange_method_has_a_plain_name(self) -> None:
        """Methods HTTP does not know cannot multiply span names."""
        with self.site():
            status, _ = self.get("/items/apple", method="BREW")
            span = self.recorder.take(SERVER, error=str(status) if status >= 400 else None)
        assert span.name.split()[0] == "HTTP"
        assert span.tags["http.method"] == "BREW"

    def test_span_covers_a_streamed_body(self) -> None:
        """The span is current in every chunk, and open until the last one."""
        with self.site() as site:
            connection = http.client.HTTPConnection(self._netloc, timeout=10)
            connection.request("GET", "/stream")
            body = connection.getresponse()
            first = body.readline()
            self.recorder.assert_empty()
            site.go_on.set()
            second = body.readline()
            connection.close()
            span = self.recorder.take(SERVER)
        assert first == second == f"{span.trace_id}\n".encode()

    def test_client_that_leaves_in_mid_stream_ends_the_span(self) -> None:
        """The span ends although the body never does, and the application's iterator is closed."""
        with self.site() as site:
            site.endless = self.notices_clients
            connection = http.client.HTTPConnection(self._netloc, timeout=10)
            connection.request("GET", "/stream")
            body = connection.getresponse()
            body.readline()
            self.recorder.assert_empty()
            body.close()
            connection.close()
            site.go_on.set()
            span = self.recorder.take(SERVER)
            assert _soon(lambda: gc.collect() >= 0 and site.closed.is_set()), "some servers leave it to the collector"
        assert span.tags["http.status_code"] == "200"
        assert [event[1] for event in span.events] == ([self.client_gone] if self.client_gone else [])

    def test_requests_one_after_another_are_traces_of_their_own(self) -> None:
        """No state of a request, streamed or failed, leaks into the next one of the same worker."""
        with self.site() as site:
            site.go_on.set()
            for path, error in (("items/a", None), ("stream", None), ("items/raise", "ValueError"), ("items/b", None)):
                self.get(f"/{path}")
                assert self.recorder.take(SERVER, error=error).parent_id is None

    def test_requests_on_one_connection_are_traces_of_their_own(self) -> None:
        """The same holds for bodies that are large or not read."""
        cases = [("POST", "/items/a", {}), ("GET", "/items/large", B3), ("GET", "/stream", {}), ("GET", "/items/b", {})]
        with self.site() as site:
            site.go_on.set()
            connection = http.client.HTTPConnection(self._netloc, timeout=10)
            for method, path, headers in cases:
                connection.request(method, path, _LARGE if method == "POST" else None, headers)
                response = connection.getresponse()
                response.read()
                span = self.recorder.take(SERVER, error=str(response.status) if response.status >= 400 else None)
                assert span.tags["http.path"] == path
                assert span.parent_id == headers.get("X-B3-SpanId")
            connection.close()

    def test_pipelined_requests_are_traces_of_their_own(self) -> None:
        """Requests after the first one have no span if the server closes the connection before serving them."""
        request = f"GET /items/apple HTTP/1.1\r\nHost: {self.__class__.__name__}\r\n"
        with self.site():
            host, _, port = self._netloc.partition(":")
            with socket.create_connection((host, int(port)), 10) as connection, connection.makefile("rb") as file:
                connection.sendall(f"{request}\r\n{request}\r\n{request}Connection: close\r\n\r\n".encode())
                answers = file.read().count(b"HTTP/1.")
            spans = [self.recorder.take(SERVER) for _ in range(answers)]
        assert answers in (1, 3)
        assert len({span.trace_id for span in spans}) == answers
        assert {span.parent_id for span in spans} == {None}

    def test_head_is_a_request_like_any_other(self) -> None:
        """Whether the application knows it or not, its span has a method, a status and no wait for a body."""
        with self.site():
            status, text = self.get("/items/same", method="HEAD")
            span = self.recorder.take(SERVER, error=None if status == 200 else str(status))
        assert (text, span.tags["http.status_code"]) == ("", str(status))
        assert (span.name.split()[0], span.tags["http.method"]) == ("HEAD", "HEAD")

    def test_path_of_the_root_is_a_slash(self) -> None:
        """Never empty, also where only a query follows the host."""
        with self.site():
            status, _ = self.get("/?secret=1")
            assert self.recorder.take(SERVER, error=str(status)).tags["http.path"] == "/"

    def test_exception_that_cannot_be_shown_is_told_by_its_class(self) -> None:
        """The response is the same as without obskit."""
        with self.site():
            assert self.get("/items/unprintable")[0] == 500
            self.recorder.take(SERVER, error="Unprintable")

    def test_exception_before_the_first_chunk_is_the_error(self) -> None:
        """The status is what the client got, if it got any."""
        with self.site() as site:
            site.failing = True
            try:
                status, _ = self.get("/stream")
            except (http.client.HTTPException, ConnectionError):
                status = 0
            span = self.recorder.take(SERVER, error="ValueError: no first chunk")
        assert span.tags["http.status_code"] == str(status or span.tags["http.status_code"])

    def test_work_handed_to_a_pool_belongs_to_the_request(self) -> None:
        """With ``threading`` instrumented, work in a pool belongs to the request; the pool's thread keeps no state."""
        with self.site() as site, installed(("threading",)):
            for _ in range(2):
                status, text = self.get("/items/pooled")
                assert (status, text) == (200, self.recorder.take(SERVER).trace_id)
            assert site.pool.submit(site.trace).result(10) == "None"

    def test_web_socket_handshake_that_is_not_taken_is_a_request_like_any_other(self) -> None:
        """It continues the caller's trace and gets the same answer as without obskit; Flask refuses it."""
        with self.site():
            status, text = self.get("/items/same", *_HANDSHAKE.items(), *B3.items())
            span = self.recorder.take(SERVER, error=None if status == 200 else str(status))
            self.uninstall()
            assert self.get("/items/same", *_HANDSHAKE.items(), *B3.items()) == (status, text)
        assert (span.trace_id, span.parent_id, span.tags["http.status_code"]) == (TRACE_ID, SPAN_ID, str(status))

    def test_failure_of_ours_is_not_the_applications(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A tracer that fails, when a span starts or when it ends, is counted and changes no response."""

        def fail(*_: object) -> bool:
            raise ZeroDivisionError

        before = failures.value
        with self.site():
            for broken in ("report", "sampler"):
                monkeypatch.setattr(provider, broken, fail)
                assert self.get("/items/same") == (200, "same")
            assert _soon(lambda: failures.value >= before + 2)

    def test_concurrent_requests_keep_apart(self) -> None:
        """Each of many requests at once sees its own trace."""
        with self.site(), ThreadPoolExecutor(8) as pool:
            wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 24)]
            texts = pool.map(lambda trace: self.get("/items/apple", ("b3", f"{trace}-{SPAN_ID}-1"))[1], wanted)
            assert list(texts) == wanted
            assert sorted(self.recorder.take(SERVER).trace_id for _ in wanted) == wanted

    def test_installing_twice_makes_one_span(self) -> None:
        """A second installation changes nothing."""
        self.install()
        with self.site():
            self.get("/items/apple")
            self.recorder.take(SERVER)

    def test_uninstalled_application_is_not_traced(self) -> None:
        """After removal requests are served without a span."""
        with self.site():
            self.uninstall()
            assert self.get("/items/apple") == (200, "None")
