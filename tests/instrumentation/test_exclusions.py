"""Health probes, and what else a program does not want to see, are left out."""

from __future__ import annotations

import http.client
import json

import pytest
from opentelemetry.trace import SpanKind

import obskit
from obskit.instrumentation.exclusions import HEALTH_PROBES, exclude, is_excluded
from obskit.integrations.asgi import ObskitMiddleware as AsgiMiddleware
from obskit.integrations.wsgi import ObskitMiddleware
from obskit.testing import recording
from obskit.testing.servers import asgi_server, wsgi_server
from tests.export.receiver import run
from tests.instrumentation.grpc_echo import traced_echo

AGENTS = ["kube-probe/1.31", "GoogleHC/1.0", "Prometheus/3.5.0"]
PATHS = ["/healthz", "/livez", "/readyz"]


@pytest.fixture
def recorder():
    with recording() as recorder:
        yield recorder
    exclude(HEALTH_PROBES)


def get(url, path, **headers):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def application(environ, start_response):
    with obskit.span("inner") as span:
        pass
    start_response("200 OK", [])
    return [span.get_span_context().trace_id.to_bytes(16, "big").hex().encode()]


async def asgi_application(scope, receive, send):
    with obskit.span("inner"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize(
    ("path", "headers"),
    [*((path, {}) for path in PATHS), ("/healthz?verbose", {}), *(("/", {"User_Agent": agent}) for agent in AGENTS)],
)
def test_a_probe_makes_no_span_nor_does_what_it_calls(recorder, path, headers):
    with wsgi_server(ObskitMiddleware(application)) as url, asgi_server(AsgiMiddleware(asgi_application)) as other:
        assert get(url, path, **headers)[0] == get(other, path, **headers)[0] == 200
        recorder.assert_empty()


@pytest.mark.parametrize("path", ["/", "/healthz/1", "/a/healthz", "/HEALTHZ", "/orders/livez"])
def test_other_requests_are_traced(recorder, path):
    with wsgi_server(ObskitMiddleware(application)) as url:
        get(url, path, User_Agent="curl/8 (kube-probe)")
    assert [recorder.take().name, recorder.take(SpanKind.SERVER).name] == ["inner", "GET"]


@pytest.mark.parametrize("headers", [{"b3": "d"}, {"X_B3_Flags": "1"}, {"X_B3_Flags": "1", "X_B3_Sampled": "0"}])
def test_a_probe_with_the_debug_flag_alone_is_recorded_as_a_person_asks_with_curl(recorder, headers):
    with wsgi_server(ObskitMiddleware(application)) as url:
        get(url, "/healthz", **headers)
    assert recorder.take().parent_id is not None  # the application's own, below
    assert recorder.take().kind is SpanKind.SERVER


def test_a_probe_that_a_mesh_samples_is_left_out_and_one_that_debugs_is_not(recorder):
    trace = {"X_B3_TraceId": "1" * 32, "X_B3_SpanId": "2" * 16}
    with wsgi_server(ObskitMiddleware(application)) as url:
        assert get(url, "/healthz", **trace, X_B3_Sampled="1") == (200, b"1" * 32)
        recorder.assert_empty()
        get(url, "/healthz", **trace, X_B3_Flags="1")
    assert [recorder.take().trace_id, recorder.take(SpanKind.SERVER).trace_id] == ["1" * 32] * 2


def test_calls_made_for_a_probe_tell_the_next_service_not_to_record(recorder):
    def calling(environ, start_response):
        start_response("200 OK", [])
        return [json.dumps(obskit.inject({})).encode()]

    with wsgi_server(ObskitMiddleware(calling)) as url:
        _, sent = get(url, "/readyz")
    assert json.loads(sent)["X-B3-Sampled"] == "0"


def test_what_is_left_out_can_be_chosen(recorder):
    exclude(["/internal/*", "curl"])
    with wsgi_server(ObskitMiddleware(application)) as url:
        get(url, "/internal/a/b")
        get(url, "/", User_Agent="curl/8.5")
        recorder.assert_empty()
        get(url, "/healthz", User_Agent="kube-probe/1")
        assert {recorder.take().name, recorder.take().name} == {"inner", "GET"}
        exclude([])
        get(url, "/internal/a", User_Agent="curl/8.5")
        assert {recorder.take().name, recorder.take().name} == {"inner", "GET"}


def test_grpcs_health_service_is_left_out(recorder):
    with traced_echo() as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"a", timeout=10) == b"a"
        assert channel.unary_unary("/shop.Orders/Get")(b"a", timeout=10) == b"a"
        assert recorder.take(SpanKind.SERVER).name == "shop.Orders/Get"


def test_a_probe_is_not_in_the_request_log():
    done = run("""
import http.client, obskit
obskit.init(exporter="none", logs="json", request_log=True)
from obskit.testing.servers import wsgi_server
from obskit.integrations.wsgi import ObskitMiddleware
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
with wsgi_server(ObskitMiddleware(application)) as url:
    for path in ("/healthz", "/orders"):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()
""")
    assert done.returncode == 0, done.stderr
    logged = [
        json.loads(line)["httpRequest"]["requestUrl"] for line in done.stdout.splitlines() if "httpRequest" in line
    ]
    assert logged == ["/orders"]


@pytest.mark.parametrize(
    ("entry", "path", "expected"),
    [
        ("/a*", "/abc", True), ("/a*", "/b", False), ("/*/health", "/a/b/health", True),
        ("/*/health", "/health", False), ("/*", "/", True), ("/a.b", "/axb", False), ("/a*c*", "/abcd", True),
        ("/a*c*", "/abd", False),
    ],
)  # fmt: skip
def test_an_asterisk_stands_for_anything(entry, path, expected):
    exclude([entry])
    assert is_excluded(path, None) is expected
    exclude([])
    assert not is_excluded(path, "curl")
