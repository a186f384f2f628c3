"""gRPC besides the contracts: what was made before, what is our own, Google's clients, and services of gRPC's."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.experimental
import pytest
from opentelemetry.trace import SpanKind

from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.rpc import server_at
from obskit.integrations import install
from obskit.testing import recording
from obskit.testing.rpc_server import SHOP, rpc_server
from obskit.testing.rpc_server_contract import Shop, soon
from obskit.tracing.current import current_span
from tests.export.grpc_receiver import grpc_receiver
from tests.installed import need
from tests.integrations.test_grpc_server import handlers

CLIENT, SERVER = SpanKind.CLIENT, SpanKind.SERVER


@pytest.fixture
def patched():
    """Return what patches clients and servers, for the length of a test."""
    patches, hooks = Patches(), ImportHooks()
    yield lambda: install(["grpc_client", "grpc_server"], hooks, patches)
    hooks.remove()
    patches.remove()


@pytest.mark.parametrize(
    ("target", "remote", "url"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051), "http://127.0.0.1:50051"),
        ("[::1]:50051", ("::1", 50051), "http://[::1]:50051"),
        ("orders", ("orders", None), "http://orders"),
        ("localhost:50051", ("localhost", 50051), "http://localhost:50051"),
        ("dns:///orders.shop:50051", ("orders.shop", 50051), "http://orders.shop:50051"),
        ("dns://8.8.8.8/orders:50051", ("orders", 50051), "http://orders:50051"),
        ("dns:orders:50051", ("orders", 50051), "http://orders:50051"),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", None, "http://10.0.0.1:1,10.0.0.2:2"),
        ("unix:/run/orders.sock", None, "http://localhost"),
        ("", None, "http://"),
    ],
)
def test_a_target_names_a_server_as_grpc_reads_it(target, remote, url):
    assert server_at(target) == (remote, url)


def test_channels_stubs_and_servers_that_were_made_before_are_traced(patched):
    shop = Shop()
    with rpc_server(*handlers(shop)) as address, grpc.insecure_channel(address) as channel:
        method = channel.unary_unary(f"{SHOP}/Item")
        with recording() as recorder:
            patched()
            assert method(b"same") == b"same"
            served, called = sorted([recorder.take(), recorder.take()], key=lambda span: span.kind.value)
    assert (served.kind, called.kind) == (SERVER, CLIENT)
    assert (served.trace_id, served.parent_id) == (called.trace_id, called.span_id)


@pytest.mark.parametrize("single_threaded", [0, 1])
def test_a_stream_that_is_forgotten_ends_its_span_at_once(patched, single_threaded):
    """We hold nothing of a call, so gRPC cancels it when the program lets go, and not when garbage is collected."""
    options = [(grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)] if single_threaded else []
    shop = Shop()
    gc.disable()
    try:
        with (
            recording() as recorder,
            rpc_server(*handlers(shop)) as address,
            grpc.insecure_channel(address, options) as channel,
        ):
            shop.endless = True
            patched()
            answers = channel.unary_stream(f"{SHOP}/Stream")(b"")
            next(answers)
            del answers
            spans = [recorder.take(error="CANCELLED")]
            shop.go_on.set()
            spans.append(recorder.take(error="CANCELLED"))  # the server may know before the client's span ends
            assert {span.kind for span in spans} == {CLIENT, SERVER}
            assert {span.tags["grpc.status_code"] for span in spans if span.kind is CLIENT} == {"CANCELLED"}
    finally:
        gc.enable()


def test_each_try_of_an_interceptor_is_a_span(patched):
    class Twice(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            continuation(details, request).result()
            return continuation(details, request)

    with recording() as recorder, rpc_server(*handlers(Shop())) as address, grpc.insecure_channel(address) as channel:
        patched()
        assert grpc.intercept_channel(channel, Twice()).unary_unary(f"{SHOP}/Item")(b"same") == b"same"
        spans = [recorder.take() for _ in range(4)]
    assert sorted(span.kind.name for span in spans) == ["CLIENT", "CLIENT", "SERVER", "SERVER"]
    assert len({span.trace_id for span in spans}) == 2


def test_an_interceptor_of_a_server_runs_in_the_span_and_may_refuse(patched):
    seen = []

    class Strict(grpc.ServerInterceptor):
        def intercept_service(self, find, details):
            seen.append(current_span().trace_id)
            if ("key", "right") not in details.invocation_metadata:
                raise PermissionError("no key")
            return find(details)

    options = {"interceptors": [Strict()]}
    with recording() as recorder, rpc_server(*handlers(Shop()), **options) as address:
        patched()
        with grpc.insecure_channel(address) as channel:
            method = channel.unary_unary(f"{SHOP}/Item")
            with pytest.raises(grpc.RpcError):
                method(b"same")
            assert method(b"same", metadata=[("key", "right")]) == b"same"
        spans = [recorder._spans.get(timeout=5) for _ in range(4)]
    refused, served = (span for span in spans if span.kind is SERVER)
    assert seen == [refused.trace_id, served.trace_id]
    assert (refused.tags["error"], refused.tags["grpc.status_code"]) == ("PermissionError: no key", "UNKNOWN")
    assert "error" not in served.tags


def test_a_call_beyond_the_servers_limit_says_so(patched):
    shop = Shop()
    with recording() as recorder, rpc_server(*handlers(shop), maximum_concurrent_rpcs=1) as address:
        patched()
        with grpc.insecure_channel(address) as channel:
            first = channel.unary_stream(f"{SHOP}/Stream")(b"")
            next(first)
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"{SHOP}/Item")(b"same")
            refused = [recorder.take(error="RESOURCE_EXHAUSTED"), recorder.take(error="RESOURCE_EXHAUSTED")]
            assert {span.name for span in refused} == {SHOP[1:] + "/Item"}
            shop.go_on.set()
            assert len(list(first)) == 1
        recorder.take()
        recorder.take()


def test_a_thread_that_a_handler_started_outlives_the_call_and_its_trace(patched):
    go_on, seen = threading.Event(), []

    def work():
        seen.append(current_span().trace_id)
        assert go_on.wait(10)
        seen.append(current_span().trace_id)

    started = []

    def item(request, context):
        started.append(threading.Thread(target=work))
        started[0].start()
        assert soon(lambda: len(seen) == 1)
        return request

    patches, hooks = Patches(), ImportHooks()
    install(["threading"], hooks, patches)
    try:
        with recording() as recorder, rpc_server(item, *handlers(Shop())[1:]) as address:
            patched()
            with grpc.insecure_channel(address) as channel:
                channel.unary_unary(f"{SHOP}/Item")(b"")
            spans = [recorder.take(), recorder.take()]
            go_on.set()
            started[0].join()
    finally:
        hooks.remove()
        patches.remove()
    assert seen == [spans[0].trace_id, None]


def test_googles_clients_are_traced(patched):
    """A library with generated code: its call is one span, and the message arrives."""
    need("google.cloud.trace_v2")
    from google.cloud.trace_v2 import TraceServiceClient
    from google.cloud.trace_v2.services.trace_service.transports import TraceServiceGrpcTransport

    received = []

    def write(request, context):
        received.append((request, dict(context.invocation_metadata())))
        return b""

    behaviour = {"BatchWriteSpans": grpc.unary_unary_rpc_method_handler(write)}
    server = grpc.server(ThreadPoolExecutor(2))
    service = "google.devtools.cloudtrace.v2.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, behaviour),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with recording() as recorder:
            patched()
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                client = TraceServiceClient(transport=TraceServiceGrpcTransport(channel=channel))
                client.batch_write_spans(name="projects/p", spans=[])
            span, _ = sorted([recorder.take(), recorder.take()], key=lambda span: span.kind is SERVER)
    finally:
        server.stop(0).wait()
    ((message, metadata),) = received
    assert b"projects/p" in message
    assert span.name == f"{service}/BatchWriteSpans"
    assert metadata["x-b3-spanid"] == span.span_id
    assert "x-goog-api-client" in metadata


OWN = """
import sys, obskit
obskit.init(service="orders", exporter=sys.argv[1], logs="off", integrations=["grpc_client", "grpc_aio_client"])
import grpc
with obskit.span("work"):
    pass
assert obskit.flush(10)
with obskit.span("more work"):
    pass
assert obskit.flush(10)
"""


def test_our_own_exporter_is_not_traced():
    with grpc_receiver() as receiver:
        command = [sys.executable, "-c", OWN, f"grpc://{receiver.address}"]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        assert receiver.names == {"work": 1, "more work": 1}
        assert not any(name.startswith("x-b3") for metadata in receiver.metadata for name in metadata)


def test_reflection_is_a_stream_like_any_other(patched):
    need("grpc_reflection")
    from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

    server = grpc.server(ThreadPoolExecutor(2))
    reflection.enable_server_reflection([SHOP[1:], reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    with recording() as recorder:
        patched()
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            (answer,) = stub.ServerReflectionInfo(asked)
        names = {recorder.take().name, recorder.take().name}
        server.stop(0).wait()
    assert SHOP[1:] in {service.name for service in answer.list_services_response.service}
    assert names == {"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"}
