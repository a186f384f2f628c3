"""Browsers and names that must not reach the collector."""

import socket
import subprocess
import sys
from base64 import b64encode

import pytest

from obskit.collector.options import Options
from obskit.collector.security import HostPolicy
from obskit.collector.server import CollectorServer

from .conftest import client_of

PATHS = ["/", "/zipkin/", "/api/v2/services", "/static/style.css", "/nope", "/api/v2/trace/zz"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:1", "[::1]:9411", "collector.internal"]
)
def test_its_own_names_are_allowed(host):
    assert HostPolicy("127.0.0.1", ["Collector.Internal"]).allows(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "0.0.0.0", "[::]", "[::1"],
)
def test_other_names_and_addresses_are_not(host):
    assert not HostPolicy("127.0.0.1").allows(host)


@pytest.mark.parametrize(
    "host", ["localhost/evil", "evil@localhost", "localhost:x", "localhost:80:80", "a b", "[localhost]"]
)
def test_what_is_no_host_header_is_not(host):
    assert not HostPolicy("127.0.0.1").allows(host)


def test_bound_to_every_interface_it_answers_to_addresses_but_not_to_names():
    policy = HostPolicy("0.0.0.0")
    assert policy.allows("192.0.2.1:9411")
    assert policy.allows("[2001:db8::1]")
    assert not policy.allows("evil.example")


@pytest.mark.parametrize("path", PATHS)
def test_a_request_under_a_foreign_name_is_refused(shared, path):
    assert shared.get(path, Host="evil.example").status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "https://localhost"])
def test_a_post_from_another_origin_is_refused_and_stores_nothing(shared, origin):
    body = b'[{"traceId":"1","id":"2"}]'
    assert shared.post(body, origin=origin).status == 403
    assert shared.get("/api/v2/trace/1").status == 404


def test_a_post_from_its_own_origin_is_accepted(shared):
    host, port = shared.address
    assert shared.post(b"[]", origin=f"http://{host}:{port}").status == 202


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_security_headers(shared, path):
    headers = shared.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["zipkin_cluster", "evil.example", "zipkin:9411"])
def test_a_program_may_send_spans_under_any_name(shared, host):
    """Envoy sends the name of its cluster."""
    assert shared.post(b"[]", Host=host).status == 202


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "same-origin"}])
def test_a_browser_may_not(shared, headers):
    assert shared.post(b"[]", Host="evil.example", **headers).status == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        *(("cross-site", "no-cors", 403), ("cross-site", "cors", 403), ("cross-site", "navigate", 200)),
        *(("same-origin", "no-cors", 200), ("none", "navigate", 200)),
    ],
)
def test_what_a_page_of_another_origin_loads_is_not_searched_for(shared, site, mode, status):
    answer = shared.get("/api/v2/traces", **{"sec-fetch-site": site, "sec-fetch-mode": mode})
    assert answer.status == status


TWO_LENGTHS = [
    b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
    b"transfer-encoding: chunked\r\ncontent-length: 7\r\n",
]


@pytest.mark.parametrize("headers", TWO_LENGTHS)
@pytest.mark.parametrize("line", [b"POST /api/v2/spans", b"GET /health", b"POST /nope"])
def test_after_a_message_with_two_lengths_nothing_is_served_on_its_connection(shared, line, headers):
    first = line + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n2\r\n[]\r\n0\r\n\r\n"
    with socket.create_connection(shared.address, timeout=20) as connection:
        connection.sendall(first + b"GET /info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: _received(connection), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"version" not in answer


def _received(connection):
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


TOKEN = "s3cret:with colon"
KNOWN = ["Bearer " + TOKEN, "bearer  " + TOKEN, "Basic " + b64encode(f"anybody:{TOKEN}".encode()).decode()]
UNKNOWN = ["", "Bearer", "Bearer x", "Bearer " + TOKEN + "x", TOKEN, "Basic *", "Basic " + b64encode(b"a:b").decode()]


@pytest.fixture(scope="module")
def guarded():
    with CollectorServer(options=Options(token=TOKEN)) as server:
        yield client_of(server)


@pytest.mark.parametrize("authorization", KNOWN)
def test_who_knows_the_token_is_let_in(guarded, authorization):
    for path in ("/zipkin/", "/api/v2/services", "/metrics"):
        assert guarded.get(path, authorization=authorization).status == 200
    assert guarded.post(b"[]", authorization=authorization).status == 202


@pytest.mark.parametrize("authorization", UNKNOWN)
def test_who_does_not_is_not(guarded, authorization):
    headers = {"authorization": authorization} if authorization else {}
    for path in PATHS:
        answer = guarded.get(path, **headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    for path in ("/api/v2/spans", "/api/v1/spans", "/v1/traces"):
        assert guarded.post(b"[]", path, **headers).status == 401


def test_health_needs_no_token(guarded):
    assert guarded.get("/health").status == guarded.get("/actuator/health").status == 200


def test_our_exporter_sends_the_token_that_its_url_has(guarded):
    program = """
import obskit, sys
obskit.init(service="a", exporter=sys.argv[1])
with obskit.span("work"):
    pass
assert obskit.flush(10), obskit.stats()
"""
    url = "http://me:s3cret%3Awith%20colon@{}:{}".format(*guarded.address)
    subprocess.run([sys.executable, "-c", program, url], check=True, timeout=60)
    assert guarded.get("/api/v2/services", authorization=KNOWN[0]).json == ["a"]


def test_an_allowed_name_can_be_added():
    with CollectorServer(allowed_hosts=["zipkin"]) as server:
        assert client_of(server).get("/health", Host="zipkin:9411").status == 200


def test_a_request_of_http_1_0_needs_no_host(shared):
    with socket.create_connection(shared.address) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert answer.readline().split()[1] == b"200"
