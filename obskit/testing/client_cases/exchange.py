"""What one exchange says of itself, and whose child it is."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from obskit.base.failures import failures
from obskit.instrumentation.tracer import propagator, tracer
from obskit.testing.client_cases.calls import CLIENT, HttpClientCalls
from obskit.testing.contract import SPAN_ID, TRACE_ID, current
from obskit.tracing.current import attach, current_span, detach, suppressed
from obskit.tracing.propagated import PropagatedSpan


class ExchangeCases(HttpClientCalls):
    """Spans, their parents and what they say; failures of ours are not the caller's."""

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

    def test_userinfo_is_not_recorded(self) -> None:
        """User and password of a URL are in no tag."""
        with self.upstream():
            self.get(self._url.replace("//", "//user:secret@") + "/a", {})
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == f"{self._url}/a"
        assert "secret" not in str(span.tags)

    def test_head_has_no_body_to_wait_for(self) -> None:
        """Its response announces one that does not come."""
        with self.upstream():
            assert self.request("HEAD", self._url + "/a") == b""
            assert self.recorder.take(CLIENT).name == "HEAD"

    def test_body_of_the_request_arrives(self) -> None:
        """A POST is named by its method, and its body is what the caller gave."""
        with self.upstream() as upstream:
            assert self.request("POST", self._url + "/a", body=b"sent") == b"hello"
            assert self.recorder.take(CLIENT).tags["http.method"] == "POST"
        assert upstream.bodies == [b"sent"]

    def test_error_status_is_an_error(self) -> None:
        """From 400 on the status is the error, as in Brave; the caller gets it unchanged."""
        with self.upstream():
            for status in (404, 500):
                assert self.fetch(f"/{status}") == status
                assert self.recorder.take(CLIENT, error=str(status)).tags["http.status_code"] == str(status)

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

    def test_suppressed_call_is_left_alone(self) -> None:
        """Where OpenTelemetry's suppression is on (our own exporter), nothing is traced or sent."""
        token = attach(suppressed())
        try:
            with self.upstream() as upstream:
                self.fetch("/a")
        finally:
            detach(token)
        assert not any(name.startswith("x-b3") for name in upstream.headers())

    def test_failure_of_ours_is_not_the_callers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If tracing itself fails, the call is made all the same, and the failure is counted."""
        monkeypatch.setattr(tracer, "start", None)
        before = failures.value
        with self.upstream():
            assert self.fetch("/a") == 200
        assert failures.value > before

    def test_failure_to_write_headers_leaves_call_and_span(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The span is recorded even if its headers cannot be sent."""
        monkeypatch.setattr(propagator, "fields_of", None)
        with self.upstream() as upstream:
            assert self.fetch("/a") == 200
            self.recorder.take(CLIENT)
        assert "x-b3-traceid" not in upstream.headers()
