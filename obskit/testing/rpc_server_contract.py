"""What every RPC server integration must do, as tests over real sockets. Subclass ``RpcServerContract``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.trace import SpanKind

from obskit.base.failures import failures
from obskit.instrumentation.tracer import propagator, provider, tracer
from obskit.propagation import mesh
from obskit.testing.contract import SPAN_ID, TRACE_ID, Contract
from obskit.testing.http_site import Unprintable
from obskit.testing.rpc_server import SHOP
from obskit.tracing.current import current_span, get_context
from obskit.tracing.span import Span

SERVER = SpanKind.SERVER
B3 = (("x-b3-traceid", TRACE_ID), ("x-b3-spanid", SPAN_ID))
Answer = tuple[str, object]
"""The name of a status, and the message, the messages or the status's text."""


class Shop:
    """The application's logic: plain functions that a test's server calls from its handlers.

    ``go_on`` lets a stream continue; with ``endless`` it never ends. ``left`` is set when it has ended or was closed.
    """

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.endless = False
        self.left = threading.Event()
        self.next_hop: dict[str, str] = {}

    def item(self, request: bytes) -> Answer:
        """Serve Item: return the name of a status and a text (the trace id, except for ``same``); ``raise`` raises.

        The handler must answer with the text if the status is OK, and abort with both if not.
        """
        self.next_hop = {**mesh.of(get_context())}
        self.next_hop.update(propagator.fields_of(current_span()))
        if request.startswith(b"raise"):
            raise Unprintable if request == b"raise unprintable" else ValueError("no such luck")
        if request == b"silence":
            self.go_on.wait(10)
        if request == b"child":
            tracer.start_span("within").end()
        text = request.decode()
        return (text, "no such luck") if text.isupper() else ("OK", text if text == "same" else _trace_id().decode())

    def answer(self, _request: bytes) -> bytes:
        """Serve one message of Chat or Upload: return the trace id. Upload joins the answers with a space."""
        return _trace_id()

    def stream(self) -> Iterator[bytes]:
        """Serve Stream: messages with the current trace id, the second one after the test has set ``go_on``."""
        try:
            yield _trace_id()
            assert self.go_on.wait(10)
            yield _trace_id()
            while self.endless:
                yield b"more"
        finally:
            self.left.set()

    async def stream_async(self) -> AsyncIterator[bytes]:
        """Serve Stream for servers that iterate asynchronously."""
        try:
            yield _trace_id()
            assert await asyncio.to_thread(self.go_on.wait, 10)
            yield _trace_id()
            while self.endless:
                yield b"more"
        finally:
            self.left.set()


def _trace_id() -> bytes:
    return f"{current_span().trace_id}".encode()


class RpcServerContract(Contract):
    """Subclass with ``integration`` and ``serve``; each test then runs against your server."""

    def serve(self, shop: Shop) -> AbstractContextManager[str]:
        """Serve the shop over gRPC, with bytes as messages; yield ``host:port``."""
        raise NotImplementedError

    @contextmanager
    def shop(self) -> Iterator[Shop]:
        """Serve a Shop for the length of the block."""
        shop = Shop()
        with self.serve(shop) as address, grpc.insecure_channel(address) as channel:
            self._channel: Any = channel  # the stubs have no type for methods of bytes
            try:
                yield shop
            finally:
                shop.go_on.set()

    def ask(self, request: bytes = b"apple", *metadata: tuple[str, Any], timeout: float = 10) -> Answer:
        """Call the unary method."""
        method = self._channel.unary_unary(f"{SHOP}/Item")
        return _answer(lambda: method(request, timeout, metadata).decode())

    def stream(self, *metadata: tuple[str, Any]) -> Any:
        """Start a call with a stream of answers."""
        return self._channel.unary_stream(f"{SHOP}/Stream")(b"", 10, metadata)

    def test_call_without_metadata_starts_a_trace(self) -> None:
        """The server span is a root with a 128-bit id, and current in the handler."""
        with self.shop():
            answer = self.ask()
            span = self.recorder.take(SERVER)
        assert answer == ("OK", span.trace_id)
        assert len(span.trace_id) == 32
        assert span.parent_id is None

    def test_span_has_name_and_tags(self) -> None:
        """The name is that of the method, as in Brave, and the address the caller's."""
        with self.shop():
            self.ask()
            span = self.recorder.take(SERVER)
        assert span.name == "obskit.testing.Shop/Item"
        assert span.tags == {"rpc.service": "obskit.testing.Shop", "rpc.method": "Item"}
        assert span.remote_endpoint is not None
        assert span.remote_endpoint[0] == "127.0.0.1"
        assert span.remote_endpoint[1]

    def test_multi_header_context_is_continued(self) -> None:
        """The span is a child of the caller's, in its trace."""
        with self.shop():
            self.ask(b"apple", *B3, ("x-b3-sampled", "1"), ("data-bin", b"\x00"))
            span = self.recorder.take(SERVER)
        assert (span.trace_id, span.parent_id) == (TRACE_ID, SPAN_ID)
        assert span.span_id != SPAN_ID

    def test_64_bit_single_header_context_is_continued_unchanged(self) -> None:
        """A 64-bit trace id stays one."""
        with self.shop():
            answer = self.ask(b"apple", ("b3", f"{TRACE_ID[:16]}-{SPAN_ID}"))
            assert answer == ("OK", self.recorder.take(SERVER).trace_id) == ("OK", TRACE_ID[:16])

    def test_w3c_context_is_continued_when_b3_is_absent(self) -> None:
        """A traceparent alone is enough."""
        with self.shop():
            self.ask(b"apple", ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"))
            assert self.recorder.take(SERVER).parent_id == SPAN_ID

    def test_denied_trace_is_not_recorded_but_goes_on(self) -> None:
        """Nothing is recorded, the handler still knows its trace, and the next hop gets the decision."""
        with self.shop() as shop:
            assert self.ask(b"apple", *B3, ("x-b3-sampled", "0")) == ("OK", TRACE_ID)
            assert (shop.next_hop["X-B3-TraceId"], shop.next_hop["X-B3-Sampled"]) == (TRACE_ID, "0")
            shop.go_on.set()
            assert list(self.stream(*B3, ("x-b3-sampled", "0"))) == [TRACE_ID.encode()] * 2
            assert self.ask(b"raise", *B3, ("x-b3-sampled", "0"))[0] == "UNKNOWN"

    def test_next_hop_is_a_child_and_mesh_headers_are_copied(self) -> None:
        """The parent of an outbound call is the server span, and the mesh's headers are copied."""
        with self.shop() as shop:
            self.ask(b"apple", ("x-request-id", "r-1"), ("grpc-trace-bin", b"\x00"), ("x-ot-span-context", "o-1"))
            span = self.recorder.take(SERVER)
        assert shop.next_hop["X-B3-SpanId"] == span.span_id
        assert (shop.next_hop["x-request-id"], shop.next_hop["x-ot-span-context"]) == ("r-1", "o-1")

    def test_malformed_metadata_starts_a_trace(self) -> None:
        """Whatever is wrong with the metadata, the call is served, in a trace of its own."""
        cases: list[list[tuple[str, str]]] = [
            [("x-b3-traceid", "not hex"), ("x-b3-spanid", SPAN_ID)],
            [("x-b3-traceid", TRACE_ID)],
            [("b3", "-"), ("traceparent", "00-0-0-0")],
            [("b3", "4" * 4000)],
            [*B3, ("x-b3-traceid", TRACE_ID[::-1])],
        ]
        with self.shop():
            for metadata in cases:
                assert self.ask(b"same", *metadata) == ("OK", "same")
                span = self.recorder.take(SERVER)
                assert span.parent_id is None
                assert span.trace_id not in (TRACE_ID, TRACE_ID[::-1])

    def test_status_is_an_error(self) -> None:
        """Every status except OK is an error, as in Brave."""
        with self.shop():
            for code in ("NOT_FOUND", "INTERNAL"):
                assert self.ask(code.encode()) == (code, "no such luck")
                assert self.recorder.take(SERVER, error=f"{code}: no such luck").tags["grpc.status_code"] == code

    def test_exception_is_tagged(self) -> None:
        """The span names the exception, even one whose text cannot be computed."""
        with self.shop():
            for request, error in ((b"raise", "ValueError: no such luck"), (b"raise unprintable", "Unprintable")):
                assert self.ask(request, timeout=1)[0] != "OK"
                assert self.recorder.take(SERVER, error=error).tags["grpc.status_code"] == "UNKNOWN"

    def test_unknown_methods_share_one_name(self) -> None:
        """Callers choose the method's name, so it must not become the name of a span."""
        with self.shop():
            method = self._channel.unary_unary("/nowhere.At/All")
            assert _answer(lambda: method(b""))[0] == "UNIMPLEMENTED"
            span = self.recorder.take(SERVER, error="UNIMPLEMENTED")
        assert (span.name, span.tags["rpc.service"]) == ("not_found", "nowhere.At")

    def test_span_covers_a_stream(self) -> None:
        """The span is current at every step, and open until the last one."""
        with self.shop() as shop:
            answers = self.stream()
            first = next(answers)
            self.recorder.assert_empty()
            shop.go_on.set()
            second = list(answers)
            span = self.recorder.take(SERVER)
        assert [first, *second] == [span.trace_id.encode()] * 2
        assert "error" not in span.tags

    def test_streams_side_by_side_keep_apart(self) -> None:
        """Each step of each stream sees its own trace, whatever the server does between two steps."""
        wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 4)]
        with self.shop() as shop:
            streams = [self.stream(("b3", f"{trace}-{SPAN_ID}-1")) for trace in wanted]
            firsts = [next(answers).decode() for answers in streams]
            _, between = self.ask()
            assert between not in wanted
            self.recorder.take(SERVER)
            shop.go_on.set()
            seconds = [next(answers).decode() for answers in streams]
            assert [list(answers) for answers in streams] == [[]] * len(wanted)
            assert sorted(self.recorder.take(SERVER).trace_id for _ in wanted) == wanted
        assert firsts == seconds == wanted

    def test_each_kind_of_call_is_one_span(self) -> None:
        """For each of the four kinds of call, the span is current for every message."""
        with self.shop():
            upload, chat = self._channel.stream_unary(f"{SHOP}/Upload"), self._channel.stream_stream(f"{SHOP}/Chat")
            for method, answers in (("Upload", upload), ("Chat", lambda sent: b" ".join(chat(sent)))):
                found = answers(iter([b"a", b"b"]))
                span = self.recorder.take(SERVER)
                assert found == f"{span.trace_id} {span.trace_id}".encode()
                assert span.tags["rpc.method"] == method

    def test_caller_that_leaves_in_mid_stream_ends_the_span(self) -> None:
        """Its status is gRPC's for a cancelled call."""
        with self.shop() as shop:
            shop.endless = True
            answers = self.stream()
            next(answers)
            answers.cancel()
            shop.go_on.set()
            span = self.recorder.take(SERVER, error="CANCELLED")
            assert soon(shop.left.is_set)
        assert span.tags["grpc.status_code"] == "CANCELLED"

    def test_caller_that_waits_no_longer_ends_the_span(self) -> None:
        """gRPC cancels the call at its deadline; the handler may run on for a while."""
        with self.shop() as shop:
            assert self.ask(b"silence", timeout=0.2)[0] == "DEADLINE_EXCEEDED"
            time.sleep(0.3)  # the server's timer starts with the call's arrival, and nothing signals its end
            shop.go_on.set()
            self.recorder.take(SERVER, error="CANCELLED")

    def test_span_made_in_a_handler_is_a_child(self) -> None:
        """So is one made through OpenTelemetry's API."""
        with self.shop():
            self.ask(b"child")
            child, span = self.recorder.take(), self.recorder.take(SERVER)
        assert (child.name, child.parent_id) == ("within", span.span_id)

    def test_answers_are_those_of_the_uninstrumented_server(self) -> None:
        """Message, status, text and metadata are equal, whatever the kind of answer."""
        with self.shop() as shop:
            shop.go_on.set()
            traced = []
            for request, error in ((b"same", None), (b"raise", "ValueError"), (b"NOT_FOUND", "")):
                traced.append((request, self._all_of(request)))
                self.recorder.take(SERVER, error=error)
            self.uninstall()
            assert [(request, self._all_of(request)) for request, _ in traced] == traced

    def _all_of(self, request: bytes) -> tuple[Any, ...]:
        call = self._channel.unary_unary(f"{SHOP}/Item").future(request, 10)
        message = None if call.exception() else call.result()
        return call.code(), call.details(), call.initial_metadata(), call.trailing_metadata(), message

    def test_calls_one_after_another_are_traces_of_their_own(self) -> None:
        """No state of a call, streamed or failed, leaks into the next one of the same worker."""
        with self.shop() as shop:
            shop.go_on.set()
            seen = set()
            for request, error in ((b"a", None), (b"raise", "ValueError"), (b"b", None)):
                self.ask(request)
                seen.add(self.recorder.take(SERVER, error=error).trace_id)
                list(self.stream())
                span = self.recorder.take(SERVER)
                assert span.parent_id is None
                seen.add(span.trace_id)
            assert len(seen) == 6

    def test_concurrent_calls_keep_apart(self) -> None:
        """Each of many calls at once sees its own trace."""
        with self.shop(), ThreadPoolExecutor(8) as pool:
            wanted = [f"{number:032x}" for number in range(2**64, 2**64 + 24)]
            answers = pool.map(lambda trace: self.ask(b"apple", ("b3", f"{trace}-{SPAN_ID}-1")), wanted)
            assert list(answers) == [("OK", trace) for trace in wanted]
            assert sorted(self.recorder.take(SERVER).trace_id for _ in wanted) == wanted

    def test_failure_of_ours_is_not_the_applications(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A tracer that fails, when a span starts or when it ends, is counted and changes no answer."""

        def fail(*_: object) -> bool:
            raise ZeroDivisionError

        failing: list[tuple[Any, str]] = [(provider, "report"), (tracer, "start"), (Span, "error")]
        for owner, name in failing:
            before = failures.value
            with self.shop() as shop, monkeypatch.context() as patched:
                patched.setattr(owner, name, fail)
                shop.go_on.set()
                assert self.ask(b"same") == ("OK", "same")
                assert self.ask(b"NOT_FOUND")[0] == "NOT_FOUND"
                assert len(list(self.stream())) == 2
                assert soon(lambda before=before: failures.value > before)  # type: ignore[misc]
            while not self.recorder._spans.empty():
                self.recorder._spans.get()

    def test_installing_twice_makes_one_span(self) -> None:
        """A second installation changes nothing."""
        self.install()
        with self.shop():
            self.ask()
            self.recorder.take(SERVER)

    def test_uninstalled_server_is_not_traced(self) -> None:
        """After removal calls are served without a span."""
        with self.shop() as shop:
            self.uninstall()
            shop.go_on.set()
            assert self.ask(b"apple", *B3) == ("OK", "None")
            assert list(self.stream(*B3)) == [b"None"] * 2


def soon(condition: Callable[[], bool]) -> bool:
    """Wait until ``condition`` holds; return whether it did within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def _answer(call: Callable[[], object]) -> Answer:
    """Return the status and the message of a call, or the status and its text."""
    try:
        return "OK", call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
