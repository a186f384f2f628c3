"""Which headers go out: the trace's, the mesh's and the caller's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.context import Context

from obskit.instrumentation.client import Hosts, begin, propagate_to
from obskit.instrumentation.tracer import propagator
from obskit.propagation import mesh
from obskit.propagation.headers import LOWER
from obskit.propagation.mesh import MESH_KEY
from obskit.testing.client_cases.calls import CLIENT, HttpClientCalls
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID
from obskit.tracing.current import attach, detach, get_context

TOLD = frozenset(["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-request-id"])


@contextmanager
def only_to(*hosts: str) -> Iterator[None]:
    """Have only ``hosts`` told of traces."""
    propagate_to(Hosts(hosts))
    try:
        yield
    finally:
        propagate_to(None)


@contextmanager
def meshed(headers: dict[str, str]) -> Iterator[None]:
    """Be within a request that came through a service mesh with ``headers``."""
    token = attach(Context({**get_context(), MESH_KEY: headers}))
    try:
        yield
    finally:
        detach(token)


class _Refusing(dict[str, str]):
    """The headers of a client that refuses invalid values."""

    def __setitem__(self, name: str, value: str) -> None:
        if not value.isprintable():
            raise ValueError(value)
        super().__setitem__(name, value)


class HeaderCases(HttpClientCalls):
    """What is sent, and to whom."""

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

    def test_other_formats_can_be_sent(self) -> None:
        """W3C and single-header B3 are sent instead, if chosen; an older context set by the caller is removed."""
        propagator.use(["b3", "w3c"])
        with self.upstream() as upstream:
            self.fetch("/a", Traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01", Tracestate="old=1")
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["b3"] == f"{span.trace_id}-{span.span_id}-1"
        assert upstream.headers()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
        assert not {"x-b3-traceid", "tracestate"} & upstream.headers().keys()

    def test_mesh_headers_are_copied_unless_the_caller_set_them(self) -> None:
        """Headers of the incoming request are copied; a value that the caller set is kept."""
        with self.upstream() as upstream, meshed({"x-request-id": "in", "x-ot-span-context": "o"}):
            self.fetch("/a", **{"X-Request-Id": "mine"})
            self.recorder.take(CLIENT)
        assert (upstream.headers()["x-request-id"], upstream.headers()["x-ot-span-context"]) == ("mine", "o")

    def test_what_the_mesh_sent_of_a_context_that_is_written_is_not_copied(self) -> None:
        """There is one traceparent, with its own tracestate."""
        propagator.use(["w3c"])
        older = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "old=1", "x-request-id": "in"}
        with self.upstream() as upstream, meshed(older):
            self.fetch("/a")
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
        assert "tracestate" not in upstream.headers()
        assert upstream.headers()["x-request-id"] == "in"

    @pytest.mark.parametrize("value", ["a\x0bb", "caf\xe9", "a\r\n b", "a\tb", "\x7f", "\u20ac", "x" * 5000])
    @pytest.mark.parametrize("name", ["x-request-id", "sw8"])
    def test_what_a_caller_sent_never_makes_a_call_fail(self, name: str, value: str) -> None:
        """A header that a client refuses is left out alone: the call succeeds, traced, with all others."""
        found = mesh.extract({name: value, "x-ot-span-context": "o"}, LOWER)
        with self.upstream() as upstream, meshed(found or {}):
            assert self.fetch("/a") == 200
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-b3-traceid"] == span.trace_id
        assert (name in upstream.headers(), upstream.headers()["x-ot-span-context"]) == (False, "o")

    def test_a_header_that_is_refused_costs_the_others_nothing(self) -> None:
        """An invalid value among the headers that are copied does not cost the others."""
        with meshed({"x-request-id": "a\nb", "x-ot-span-context": "o"}):
            exchange = begin("GET", "http://h/", headers := _Refusing())
        assert exchange is not None
        exchange.finish()
        span = self.recorder.take(CLIENT)
        assert (headers["X-B3-TraceId"], headers["x-ot-span-context"]) == (span.trace_id, "o")

    def test_a_host_off_the_list_is_called_in_a_span_and_told_nothing(self) -> None:
        """Neither of the trace nor of what the mesh sent; the next call, of a host on the list, carries both."""
        with self.upstream() as upstream, only_to("127.0.0.1"), meshed({"x-request-id": "7"}):
            assert self.get(self._url.replace("127.0.0.1", "localhost") + "/a", {}) == 200
            self.recorder.take(CLIENT)
            assert not TOLD & upstream.headers().keys()
            assert self.fetch("/a") == 200
            assert upstream.headers()["x-b3-spanid"] == self.recorder.take(CLIENT).span_id
            assert upstream.headers()["x-request-id"] == "7"

    def test_headers_of_the_callers_own_reach_a_host_off_the_list(self) -> None:
        """But for those of a trace."""
        with self.upstream() as upstream, only_to("orders"), meshed({"x-request-id": "7"}):
            self.get(self._url + "/a", {"X-Request-Id": "mine", "X-B3-TraceId": "1" * 16, "Accept": "text/x"})
            self.recorder.take(CLIENT)
        found = upstream.headers()
        assert (found["x-request-id"], found["accept"], "x-b3-traceid" in found) == ("mine", "text/x", False)
