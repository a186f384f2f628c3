"""What every RPC client integration must do, as tests over real sockets. Subclass ``RpcClientContract``."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import grpc
import pytest
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.base.failures import failures
from obskit.instrumentation.client import Hosts, propagate_to
from obskit.instrumentation.tracer import propagator, provider, tracer
from obskit.propagation.mesh import MESH_KEY
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID, Contract, current
from obskit.testing.rpc_server import SHOP, rpc_server
from obskit.tracing.current import attach, current_span, detach, get_context, suppressed
from obskit.tracing.propagated import PropagatedSpan

CLIENT = SpanKind.CLIENT
Pairs = list[tuple[str, Any]]


class Upstream:
    """What the test's server received, and when it may send the rest of a stream."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.go_on = threading.Event()

    def metadata(self) -> dict[str, Any]:
        """Return the last call's metadata; repeated names joined by a comma."""
        return self.received[-1]

    def item(self, request: bytes, context: Any) -> bytes:
        """Answer with the request; with a status if it is one's name; never, if it is ``silence``."""
        self._receive(context)
        if request == b"silence":
            self.go_on.wait(10)
        elif request.isupper():
            context.abort(grpc.StatusCode[request.decode()], "no such luck")
        return request

    def stream(self, _request: bytes, context: Any) -> Iterator[bytes]:
        """Send a message, and another after the test has set ``go_on``."""
        self._receive(context)
        yield b"first"
        assert self.go_on.wait(10)
        yield b"after"

    def upload(self, requests: Iterator[bytes], context: Any) -> bytes:
        """Answer with all messages, joined."""
        self._receive(context)
        return b"".join(requests)

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Answer each message with itself."""
        self._receive(context)
        yield from requests

    def _receive(self, context: Any) -> None:
        found: dict[str, Any] = {}
        for name, value in context.invocation_metadata():
            found[name] = f"{found[name]},{value}" if name in found else value
        self.received.append(found)


class RpcClientContract(Contract):
    """Subclass with ``integration``, ``rpc_error``, and a method for each kind of call, with bytes as messages.

    ``address`` is ``host:port``, ``method`` a path such as ``/package.Service/Method``. ``rpc_error`` is the exception
    that the library raises if a status is not OK.
    """

    rpc_error: ClassVar[type[BaseException]] = grpc.RpcError

    def call(
        self, address: str, method: str, request: bytes, metadata: Pairs | None = None, timeout: float | None = None
    ) -> bytes:
        """Make a call with one message, and return the one that answers it."""
        raise NotImplementedError

    def stream(self, address: str, method: str, request: bytes) -> AbstractContextManager[Iterator[bytes]]:
        """Make a call with one message; yield the answers, and release the call at the end of the block."""
        raise NotImplementedError

    def upload(self, address: str, method: str, requests: Sequence[bytes]) -> bytes:
        """Make a call with several messages, and return the one that answers them."""
        raise NotImplementedError

    def chat(self, address: str, method: str, requests: Sequence[bytes]) -> list[bytes]:
        """Make a call with several messages, and return those that answer them."""
        raise NotImplementedError

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        """Run the server that all calls go to."""
        upstream = Upstream()
        with rpc_server(upstream.item, upstream.stream, upstream.upload, upstream.chat) as self._address:
            try:
                yield upstream
            finally:
                upstream.go_on.set()

    def ask(self, request: bytes = b"apple", metadata: Pairs | None = None, timeout: float | None = 10) -> bytes:
        """Call the server's unary method."""
        return self.call(self._address, f"{SHOP}/Item", request, metadata, timeout)

    def test_call_outside_a_trace_starts_one(self) -> None:
        """The client span is a root, and its ids are what the receiver gets."""
        with self.upstream() as upstream:
            assert self.ask() == b"apple"
            span = self.recorder.take(CLIENT)
        assert span.parent_id is None
        sent = {name: value for name, value in upstream.metadata().items() if "b3" in name}
        assert sent == {"x-b3-traceid": span.trace_id, "x-b3-spanid": span.span_id, "x-b3-sampled": "1"}

    def test_call_in_a_span_is_its_child(self) -> None:
        """Parent, child and what is sent agree; afterwards the parent is current again."""
        with self.upstream() as upstream, tracer.start_as_current_span("work") as work:
            self.ask()
            span = self.recorder.take(CLIENT)
            assert current_span() is work
        assert (span.trace_id, span.parent_id) == (work.trace_id, work.span_id)
        assert upstream.metadata()["x-b3-parentspanid"] == span.parent_id
        self.recorder.take()

    def test_span_has_name_and_tags(self) -> None:
        """The name is that of the method, as in Brave, and the address the one that was called."""
        with self.upstream():
            self.ask()
            span = self.recorder.take(CLIENT)
        host, port = self._address.split(":")
        assert span.name == "obskit.testing.Shop/Item"
        assert span.tags == {"rpc.service": "obskit.testing.Shop", "rpc.method": "Item"}
        assert span.remote_endpoint == (host, int(port))

    def test_each_kind_of_call_is_one_span(self) -> None:
        """So it is for each of the four kinds: unary, and streams of either or both sides."""
        with self.upstream() as upstream:
            upstream.go_on.set()
            with self.stream(self._address, f"{SHOP}/Stream", b"") as answers:
                assert list(answers) == [b"first", b"after"]
            self._expect_one(upstream, "Stream")
            assert self.upload(self._address, f"{SHOP}/Upload", [b"a", b"b"]) == b"ab"
            self._expect_one(upstream, "Upload")
            assert self.chat(self._address, f"{SHOP}/Chat", [b"a", b"b"]) == [b"a", b"b"]
            self._expect_one(upstream, "Chat")

    def _expect_one(self, upstream: Upstream, method: str) -> None:
        span = self.recorder.take(CLIENT)
        assert span.tags["rpc.method"] == method
        assert upstream.metadata()["x-b3-spanid"] == span.span_id
        assert "grpc.status_code" not in span.tags

    def test_status_is_an_error(self) -> None:
        """Every status except OK is an error, as in Brave; the caller gets the library's own exception."""
        with self.upstream():
            for code in ("NOT_FOUND", "INTERNAL"):
                with pytest.raises(self.rpc_error, match="no such luck"):
                    self.ask(code.encode())
                span = self.recorder.take(CLIENT, error=f"{code}: no such luck")
                assert span.tags["grpc.status_code"] == code

    def test_unknown_method_is_an_error(self) -> None:
        """An unimplemented method is an error like any other status."""
        with self.upstream(), pytest.raises(self.rpc_error):
            self.call(self._address, f"{SHOP}/Nothing", b"")
        assert self.recorder.take(CLIENT, error="UNIMPLEMENTED").name == "obskit.testing.Shop/Nothing"

    def test_unreachable_server_is_an_error(self) -> None:
        """The library's own exception reaches the caller; the span ends with it."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            with pytest.raises(self.rpc_error):
                self.call(f"127.0.0.1:{closed.getsockname()[1]}", f"{SHOP}/Item", b"", None, 10)
        self.recorder.take(CLIENT, error="UNAVAILABLE")

    def test_deadline_is_an_error(self) -> None:
        """The span ends at the deadline."""
        with self.upstream(), pytest.raises(self.rpc_error):
            self.ask(b"silence", timeout=0.2)
        assert self.recorder.take(CLIENT, error="DEADLINE").tags["grpc.status_code"] == "DEADLINE_EXCEEDED"

    def test_span_covers_a_stream(self) -> None:
        """The span ends when the stream is over, though it is not current meanwhile."""
        with self.upstream() as upstream, self.stream(self._address, f"{SHOP}/Stream", b"") as answers:
            assert next(answers) == b"first"
            self.recorder.assert_empty()
            assert not current_span().is_recording()
            upstream.go_on.set()
            assert list(answers) == [b"after"]
            self.recorder.take(CLIENT)

    def test_abandoned_stream_ends_the_span(self) -> None:
        """Releasing a stream that was not read to its end cancels the call."""
        with self.upstream() as upstream:
            with self.stream(self._address, f"{SHOP}/Stream", b"") as answers:
                assert next(answers) == b"first"
            del answers
            gc.collect()
            upstream.go_on.set()
            assert self.recorder.take(CLIENT, error="CANCELLED").tags["grpc.status_code"] == "CANCELLED"

    def test_metadata_of_the_caller_goes_along(self) -> None:
        """Texts and bytes arrive, and the caller's list is unchanged; an older context in it is replaced."""
        older = [(name.lower(), value) for name, value in B3.items()]
        given: Pairs = [("x-mine", "1"), ("data-bin", b"\x00\xff"), ("x-mine", "2"), *older, ("b3", "0")]
        copy = list(given)
        with self.upstream() as upstream:
            self.ask(metadata=given)
            span = self.recorder.take(CLIENT)
        assert given == copy
        assert (upstream.metadata()["x-mine"], upstream.metadata()["data-bin"]) == ("1,2", b"\x00\xff")
        sent = {name: value for name, value in upstream.metadata().items() if "b3" in name}
        assert sent == {"x-b3-traceid": span.trace_id, "x-b3-spanid": span.span_id, "x-b3-sampled": "1"}

    def test_denied_trace_is_passed_on_unrecorded(self) -> None:
        """The receiver is told not to sample, and nothing is recorded here."""
        with self.upstream() as upstream, current(PropagatedSpan(TRACE_ID, SPAN_ID, sampled=False)):
            self.ask()
            upstream.go_on.set()
            with self.stream(self._address, f"{SHOP}/Stream", b"") as answers:
                assert len(list(answers)) == 2
        for metadata in upstream.received:
            assert (metadata["x-b3-traceid"], metadata["x-b3-sampled"]) == (TRACE_ID, "0")

    def test_other_formats_can_be_sent(self) -> None:
        """W3C and single-header B3 are sent instead, if chosen."""
        propagator.use(["b3", "w3c"])
        with self.upstream() as upstream:
            self.ask()
            span = self.recorder.take(CLIENT)
        assert upstream.metadata()["b3"] == f"{span.trace_id}-{span.span_id}-1"
        assert upstream.metadata()["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
        assert "x-b3-traceid" not in upstream.metadata()

    def test_mesh_headers_are_copied_unless_the_caller_set_them(self) -> None:
        """Headers of the incoming request are copied if gRPC allows them; a value that the caller set is kept."""
        came = {"x-request-id": "in", "x-ot-span-context": "o", "grpc-trace-bin": "AAA"}
        token = attach(Context({**get_context(), MESH_KEY: came}))
        try:
            with self.upstream() as upstream:
                self.ask(metadata=[("x-request-id", "mine")])
                self.recorder.take(CLIENT)
        finally:
            detach(token)
        assert (upstream.metadata()["x-request-id"], upstream.metadata()["x-ot-span-context"]) == ("mine", "o")

    def test_server_that_is_not_to_know_gets_nothing(self) -> None:
        """For hosts outside ``propagate_to`` the call is recorded, and only the caller's own metadata arrives."""
        propagate_to(Hosts(["elsewhere.example"]))
        try:
            with self.upstream() as upstream:
                self.ask(metadata=[("x-mine", "1")])
                self.recorder.take(CLIENT)
        finally:
            propagate_to(None)
        assert upstream.metadata()["x-mine"] == "1"
        assert "x-b3-traceid" not in upstream.metadata()

    def test_suppressed_call_is_left_alone(self) -> None:
        """Where OpenTelemetry's suppression is on (our own exporter), nothing is traced or sent."""
        token = attach(suppressed())
        try:
            with self.upstream() as upstream:
                self.ask()
                upstream.go_on.set()
                with self.stream(self._address, f"{SHOP}/Stream", b"") as answers:
                    assert len(list(answers)) == 2
        finally:
            detach(token)
        assert not any("b3" in name for metadata in upstream.received for name in metadata)

    def test_concurrent_calls_keep_apart(self) -> None:
        """Calls of many threads at once each continue their own trace."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 16)]

        def call(trace_id: str) -> None:
            with current(PropagatedSpan(trace_id, SPAN_ID, sampled=True)):
                self.ask(trace_id.encode())

        with self.upstream() as upstream, ThreadPoolExecutor(4) as pool:
            list(pool.map(call, wanted))
        assert sorted(self.recorder.take(CLIENT).trace_id for _ in wanted) == wanted
        assert sorted(metadata["x-b3-traceid"] for metadata in upstream.received) == wanted

    def test_failure_of_ours_is_not_the_callers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If tracing fails, before a call or after it, the call is made all the same, and the failure is counted."""
        with self.upstream() as upstream:
            upstream.go_on.set()
            for owner, name in ((tracer, "start"), (provider, "report")):
                before = failures.value
                with monkeypatch.context() as patched:
                    patched.setattr(owner, name, None)
                    assert self.ask(metadata=[("x-mine", "1")]) == b"apple"
                    assert upstream.metadata()["x-mine"] == "1"
                    with self.stream(self._address, f"{SHOP}/Stream", b"") as answers:
                        assert list(answers) == [b"first", b"after"]
                assert failures.value > before

    def test_failure_to_write_metadata_leaves_call_and_span(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The span is recorded even if its ids cannot be sent."""
        monkeypatch.setattr(propagator, "fields_of", None)
        with self.upstream() as upstream:
            assert self.ask(metadata=[("x-mine", "1")]) == b"apple"
            self.recorder.take(CLIENT)
        assert upstream.metadata()["x-mine"] == "1"
        assert "x-b3-traceid" not in upstream.metadata()

    def test_installing_twice_makes_one_span(self) -> None:
        """A second installation changes nothing."""
        self.install()
        with self.upstream():
            self.ask()
            self.recorder.take(CLIENT)

    def test_uninstalled_library_is_not_traced(self) -> None:
        """After removal calls are made without a span or metadata."""
        self.uninstall()
        with self.upstream() as upstream:
            self.ask()
        assert "x-b3-traceid" not in upstream.metadata()
