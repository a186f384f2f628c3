"""Several requests of one call: redirects and retries."""

from __future__ import annotations

from obskit.instrumentation.tracer import tracer
from obskit.testing.client_cases.calls import CLIENT, HttpClientCalls
from obskit.testing.client_cases.headers import TOLD, meshed, only_to
from obskit.testing.client_cases.upstream import running
from obskit.testing.contract import SPAN_ID, TRACE_ID, current
from obskit.tracing.propagated import PropagatedSpan


class RedirectCases(HttpClientCalls):
    """Each request on the wire is a span."""

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

    def test_each_hop_of_a_redirect_is_decided_by_its_own_host(self) -> None:
        """Clients copy the headers of one request to the next."""
        with self.upstream() as there, running() as (here, url), only_to("127.0.0.1"), meshed({"x-request-id": "7"}):
            here.location = self._url.replace("127.0.0.1", "localhost") + "/a"
            assert self.get(url + "/redirect", {}) == 200
            first, second = self.recorder.take(CLIENT), self.recorder.take(CLIENT)
        assert here.headers()["x-b3-spanid"] == first.span_id
        assert second.tags["http.url"] == here.location
        assert not TOLD & there.headers().keys()

    def test_retries_are_siblings(self) -> None:
        """A request that the library sends again by itself is a span each time, with the status of its own."""
        with self.upstream() as upstream, current(PropagatedSpan(TRACE_ID, SPAN_ID, sampled=True)):
            upstream.busy = 2
            assert self.retry(self._url + "/busy") == 200
            tries = [self.recorder.take(CLIENT, error=error) for error in ("503", "503", None)]
        assert [one.parent_id for one in tries] == [SPAN_ID] * 3
        assert [headers["x-b3-spanid"] for _, headers in upstream.received] == [one.span_id for one in tries]
