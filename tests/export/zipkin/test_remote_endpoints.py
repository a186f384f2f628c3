"""Who is at the other end of a call, as Zipkin has it, and that its graph draws services which are not traced."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest
from opentelemetry.trace import SpanKind

import obskit
from obskit.collector.server import CollectorServer
from obskit.export.zipkin.translation import to_zipkin
from obskit.instrumentation.http_tags import remote_of
from obskit.instrumentation.tracer import tracer
from obskit.testing import recording
from obskit.testing.client_cases.upstream import Upstream, upstream_handler
from obskit.testing.servers import http_server
from obskit.zipkin.json_v2 import decode_list, encode_span
from obskit.zipkin.model import Endpoint
from tests.export.conftest import fresh  # noqa: F401 - a fixture

CLIENT, SERVER, PRODUCER, CONSUMER = SpanKind.CLIENT, SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER


def sent(kind, remote=None, **tags):
    """Return the remote endpoint of such a span, read back from what is sent."""
    with recording() as recorder:
        span = tracer.start("a", kind, None, {})
        for key, value in tags.items():
            span.set_attribute(key.replace("__", "."), value)
        span.remote_endpoint = remote
        span.end()
        line = encode_span(to_zipkin(recorder.take(), Endpoint("shop")))
    return decode_list(b"[" + line + b"]")[0].remote_endpoint


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        (("Orders", 8080), Endpoint("orders", port=8080)),
        (("api.stripe.com.", 443), Endpoint("api.stripe.com", port=443)),
        (("orders.shop.svc.cluster.local", 80), Endpoint("orders", port=80)),
        (("orders.shop.svc", None), Endpoint("orders")),
        (("10.0.0.7", 80), Endpoint(ipv4="10.0.0.7", port=80)),
        (("::1", 80), Endpoint(ipv6="::1", port=80)),
        (("orders", 70000), Endpoint("orders")),
        (("orders", 0), Endpoint("orders")),
        ((".", None), None),
        (("o" * 300, None), Endpoint("o" * 255)),
        (("a\ud800b", None), Endpoint("a?b")),
    ],
)
def test_a_client_names_the_host_it_calls(remote, expected):
    assert sent(CLIENT, remote) == expected


def test_a_servers_caller_is_an_address_and_no_name():
    assert sent(SERVER, ("10.0.0.7", 5555)) == Endpoint(ipv4="10.0.0.7", port=5555)
    assert sent(SERVER, ("testclient", 5000)) is None


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"peer__service": "Redis", "server__address": "10.0.0.7"}, Endpoint("redis")),
        ({"server__address": "db.internal", "server__port": 5432}, Endpoint("db.internal", port=5432)),
        ({"net__peer__name": "localhost", "net__peer__port": 6379}, Endpoint("localhost", port=6379)),
        ({"network__peer__address": "10.0.0.7", "network__peer__port": "x"}, Endpoint(ipv4="10.0.0.7")),
        ({"db__name": "orders", "server__address": ""}, Endpoint("orders")),
        ({"server__address": "a", "server__port": 99999}, Endpoint("a")),
        ({"other": "a"}, None),
    ],
)
def test_the_first_of_opentelemetrys_attributes_names_whom_a_client_calls(tags, expected):
    assert sent(CLIENT, **tags) == sent(PRODUCER, **tags) == expected
    named = Endpoint("redis") if "peer__service" in tags else None
    assert sent(SERVER, **tags) == sent(CONSUMER, **tags) == named, "its address is the server's own"
    assert sent(SpanKind.INTERNAL, **tags) is None


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("http", "orders", ("orders", 80)),
        ("HTTPS", "orders", ("orders", 443)),
        ("http", "orders:8080", ("orders", 8080)),
        ("http", "[::1]:8080", ("::1", 8080)),
        ("http", "[::1]", ("::1", 80)),
        ("http", "orders:", ("orders", 80)),
        ("unix", "orders", ("orders", None)),
        ("http", "", None),
        ("http", ":80", None),
        ("http", "h:" + "9" * 5000, ("h:" + "9" * 5000, 80)),
    ],
)
def test_host_and_port_are_read_from_a_url(scheme, host, expected):
    assert remote_of(scheme, host) == expected


@pytest.mark.usefixtures("fresh")
def test_the_graph_draws_services_that_are_not_traced():
    with CollectorServer() as collector, http_server(upstream_handler(Upstream())) as url:
        obskit.init(service="shop", exporter=f"{collector.url}/api/v2/spans", integrations=["http_client"])
        with urllib.request.urlopen(url.replace("127.0.0.1", "localhost") + "/a", timeout=10) as response:
            response.read()
        with obskit.span("GET", kind="client", remote="Redis"):
            pass
        with obskit.span("send", kind="producer", remote="broker"):
            pass
        with obskit.span("take", kind="consumer", remote="broker"):
            pass
        assert obskit.flush(10)
        obskit.init(integrations=[])
        asked = f"{collector.url}/api/v2/dependencies?endTs={int(time.time() * 1000) + 1000}"
        with urllib.request.urlopen(asked, timeout=10) as response:
            links = {(link["parent"], link["child"]) for link in json.load(response)}
    assert links == {("shop", "localhost"), ("shop", "redis"), ("shop", "broker"), ("broker", "shop")}
