"""Whose trace headers count: on real sockets, from this machine."""

from __future__ import annotations

import http.client
import json

import pytest
from opentelemetry.trace import SpanKind

import obskit
from obskit.instrumentation.trust import trust, trusted
from obskit.integrations.asgi import ObskitMiddleware as AsgiMiddleware
from obskit.integrations.wsgi import ObskitMiddleware
from obskit.testing import recording
from obskit.testing.servers import asgi_server, wsgi_server
from tests.instrumentation.grpc_echo import traced_echo

TRACE = "463ac35c9f6413ad48485a3953bb6124"
SENT = {
    "X-B3-TraceId": TRACE,
    "X-B3-SpanId": "a2fb4a1d1a96d312",
    "X-B3-Sampled": "1",
    "X-Request-Id": "mine",
    "X-Span-Name": "mine",
    "baggage": "a=b",
}
STRANGERS = ["never", [], ["10.0.0.0/8", "2001:db8::/32"]]
FRIENDS = ["always", ["127.0.0.0/8"], ["10.0.0.0/8", "127.0.0.1"]]


@pytest.fixture
def recorder():
    with recording() as recorder:
        yield recorder
    trust("always")


def application(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps(obskit.inject({})).encode()]


async def asgi_application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(obskit.inject({})).encode()})


def ask(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/a", headers=SENT)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


@pytest.mark.parametrize("whom", STRANGERS)
def test_what_a_stranger_sends_is_neither_continued_nor_passed_on(recorder, whom):
    trust(whom)
    with wsgi_server(ObskitMiddleware(application)) as url, asgi_server(AsgiMiddleware(asgi_application)) as other:
        for answer in (ask(url), ask(other)):
            span = recorder.take(SpanKind.SERVER)
            assert (span.parent_id, span.name) == (None, "GET")
            assert span.trace_id not in (TRACE, None)
            assert answer == {"X-B3-TraceId": span.trace_id, "X-B3-SpanId": span.span_id, "X-B3-Sampled": "1"}


@pytest.mark.parametrize("whom", FRIENDS)
def test_what_a_friend_sends_is_continued_and_passed_on(recorder, whom):
    trust(whom)
    with wsgi_server(ObskitMiddleware(application)) as url, asgi_server(AsgiMiddleware(asgi_application)) as other:
        for answer in (ask(url), ask(other)):
            span = recorder.take(SpanKind.SERVER)
            assert (span.trace_id, span.name) == (TRACE, "mine")
            assert (answer["X-B3-TraceId"], answer["x-request-id"], answer["baggage"]) == (TRACE, "mine", "a=b")


def test_a_stranger_neither_denies_nor_forces_a_recording(recorder):
    trust("never")
    with wsgi_server(ObskitMiddleware(application)) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/a", headers={"b3": "0"})
        connection.getresponse().read()
        connection.close()
        assert not recorder.take(SpanKind.SERVER).debug


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::5", True), ("::1", False),
        ("testclient", False), ("", True), ("127.0.0.1", True),
    ],
)  # fmt: skip
def test_a_caller_is_trusted_by_its_address(address, expected):
    trust(["10.0.0.5/8", "2001:db8::/32", "127.0.0.1"])
    try:
        assert trusted((address, 5000)) is expected
        assert trusted(None), "a Unix socket"
    finally:
        trust("always")


@pytest.mark.parametrize(("whom", "continued"), [("never", False), (["10.0.0.0/8"], False), (["127.0.0.1"], True)])
def test_grpcs_metadata_counts_alike(recorder, whom, continued):
    trust(whom)
    with traced_echo() as channel:
        sent = [(name.lower(), value) for name, value in SENT.items()]
        channel.unary_unary("/shop.Orders/Get")(b"a", timeout=10, metadata=sent)
    assert (recorder.take(SpanKind.SERVER).trace_id == TRACE) is continued
