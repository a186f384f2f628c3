"""Browsers and names that must not reach the collector."""

import pytest

from obskit.collector.guard import HostPolicy
from obskit.collector.server import CollectorServer

from .conftest import client_of

PATHS = ["/", "/zipkin/", "/api/v2/services", "/zipkin/style.css", "/nope", "/api/v2/trace/zz"]


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


def test_an_allowed_name_can_be_added():
    with CollectorServer(allowed_hosts=["zipkin"]) as server:
        assert client_of(server).get("/health", Host="zipkin:9411").status == 200
