"""Spans go through a real Zipkin server into a real database, by each of obskit's ways, and come back as they were."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from obskit.export.delivery.exporter import DELIVERED
from obskit.export.destinations import Making, parse
from obskit.zipkin.json_v2 import encode_list
from obskit.zipkin.model import Annotation, Endpoint, Span
from tests import kafka_server, zipkin_server
from tests.export.receiver import eventually
from tests.storage import cassandra, mariadb, opensearch

DATABASES = {"mariadb": mariadb.running, "cassandra": cassandra.running, "opensearch": opensearch.running}
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
LINKS_AT_ONCE = {"mariadb"}  # the others need Zipkin's Spark job
WAYS = ("json", "proto3", "grpc", "kafka json", "kafka proto3")
KEEPS_COPIES = {"cassandra"}  # its key has a random part; Zipkin's UI shows copies as one span
NOT_YET = (404, 500)  # 500: of OpenSearch, while the day's first span makes the index
SLOW = 60.0  # seconds until what was accepted can be found


class Zipkin(NamedTuple):
    """A server, what it stores in, and the broker it reads from."""

    database: str
    address: str
    brokers: str

    def get(self, path: str, **query: Any) -> Any:
        url = f"http://{self.address}/api/v2/{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in NOT_YET:
                return []
            raise

    def exporter(self, way: str) -> Any:
        encoding = "proto3" if way.endswith("proto3") else "json"
        schemes = {"grpc": f"grpc://{self.address}", "kafka": f"kafka://{self.brokers}"}
        url = schemes.get(way.partition(" ")[0], f"http://{self.address}")
        _, build = parse(url).plan(Making(lambda: lambda span: span, lambda: None, zipkin_encoding=encoding))
        return build()


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    try:
        with kafka_server.running() as broker:
            yield broker.address
    except zipkin_server.Unavailable as error:
        pytest.skip(f"no Kafka broker: {error}")


@pytest.fixture(scope="module", params=DATABASES)
def zipkin(request, brokers, tmp_path_factory) -> Iterator[Zipkin]:
    """The documentation names every variable that a server is started with."""
    try:
        with DATABASES[request.param](tmp_path_factory.mktemp(request.param)) as environ:
            kafka = {"KAFKA_BOOTSTRAP_SERVERS": brokers, "KAFKA_GROUP_ID": request.param}
            assert {name for name in {**environ, **kafka} if f"{name}=" not in PAGE.read_text()} == set()
            with zipkin_server.running(**environ, **kafka) as port:
                yield Zipkin(request.param, f"127.0.0.1:{port}", brokers)
    except zipkin_server.Unavailable as error:
        pytest.skip(f"no {request.param}: {error}")


def a_trace(service: str) -> list[Span]:
    """A client, the server that shares its span, and a call of that server's to a database that fails."""
    trace_id, root, child = secrets.token_hex(16), secrets.token_hex(8), secrets.token_hex(8)
    start = time.time_ns() // 1000
    client = Span(
        trace_id=trace_id,
        id=root,
        kind="CLIENT",
        name="get /orders/{id}",
        timestamp=start,
        duration=90_000,
        local_endpoint=Endpoint(f"{service}-shop", ipv4="10.0.0.1"),
        remote_endpoint=Endpoint(f"{service}-orders", ipv6="2001:db8::1", port=8080),
        annotations=[Annotation(start + 10, "halfway 🎈")],
        tags={"http.method": "GET", "http.path": "/orders/7", "text": 'a "quoted"\n Grüße 🎈'},
    )
    server = Span(
        trace_id=trace_id,
        id=root,
        kind="SERVER",
        name="get /orders/{id}",
        timestamp=start + 1000,
        duration=80_000,
        local_endpoint=Endpoint(f"{service}-orders", ipv6="2001:db8::1", port=8080),
        tags={"http.status_code": "500"},
        shared=True,
    )
    call = Span(
        trace_id=trace_id,
        parent_id=root,
        id=child,
        kind="CLIENT",
        name="select",
        timestamp=start + 2000,
        duration=5000,
        local_endpoint=Endpoint(f"{service}-orders", ipv4="10.0.0.2"),
        remote_endpoint=Endpoint(f"{service}-postgres"),
        tags={"error": "", "sql.query": "select 1"},
        debug=True,
    )
    return [client, server, call]


def in_order(spans: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(span, sort_keys=True) for span in spans)


def search(zipkin: Zipkin, **query: Any) -> list[str]:
    return in_order([span for trace in zipkin.get("traces", **query) for span in trace])


def found(read: Callable[[], list[str]], expected: list[str]) -> list[str]:
    """Return what ``read`` returns when it is as expected, or at last: a store may show half a trace first."""
    end = time.monotonic() + SLOW
    while (answer := read()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    return answer


@pytest.mark.parametrize("way", WAYS)
def test_a_trace_is_stored_and_found_as_it_was_sent(zipkin, way):
    service = f"s{secrets.token_hex(4)}"
    spans = a_trace(service)
    exporter = zipkin.exporter(way)
    assert exporter.send([exporter.encode(span) for span in spans], time.monotonic() + 30) is DELIVERED
    exporter.close()
    expected = in_order(json.loads(encode_list(spans)))
    trace_id = spans[0].trace_id
    assert found(lambda: in_order(zipkin.get(f"trace/{trace_id}")), expected) == expected
    searches = [
        {"serviceName": f"{service}-shop"},
        {"serviceName": f"{service}-orders", "spanName": "select"},
        {"serviceName": f"{service}-shop", "remoteServiceName": f"{service}-orders"},
        {"serviceName": f"{service}-orders", "annotationQuery": "error"},
        {"serviceName": f"{service}-shop", "annotationQuery": "http.path=/orders/7"},
        {"serviceName": f"{service}-shop", "minDuration": 90_000, "maxDuration": 90_001},
    ]
    for query in searches:
        assert found(partial(search, zipkin, **query), expected) == expected, query
    assert search(zipkin, serviceName=f"{service}-shop", annotationQuery="http.path=/orders/8") == []
    names = ["get /orders/{id}", "select"]
    assert found(lambda: zipkin.get("spans", serviceName=f"{service}-orders"), names) == names
    eventually(lambda: {f"{service}-shop", f"{service}-orders"} <= set(zipkin.get("services")), SLOW)


def test_a_batch_that_comes_twice_is_stored_once_but_for_cassandra(zipkin):
    exporter = zipkin.exporter("json")
    spans, marker = (a_trace(f"s{secrets.token_hex(4)}") for _ in range(2))
    for batch in (spans, spans, marker):
        assert exporter.send([exporter.encode(span) for span in batch], time.monotonic() + 30) is DELIVERED
        eventually(lambda sent=batch: len(zipkin.get(f"trace/{sent[0].trace_id}")) >= len(sent), SLOW)
    copies = 2 if zipkin.database in KEEPS_COPIES else 1
    eventually(lambda: len(zipkin.get(f"trace/{spans[0].trace_id}")) == copies * len(spans), SLOW)


def test_the_links_between_services_are_there_at_once_or_not_at_all(zipkin):
    service = f"s{secrets.token_hex(4)}"
    exporter = zipkin.exporter("json")
    spans = a_trace(service)
    assert exporter.send([exporter.encode(span) for span in spans], time.monotonic() + 30) is DELIVERED
    eventually(lambda: len(zipkin.get(f"trace/{spans[0].trace_id}")) == 3, SLOW)
    links = zipkin.get("dependencies", endTs=int(time.time() * 1000) + 1000)
    if zipkin.database in LINKS_AT_ONCE:
        assert {"parent": f"{service}-shop", "child": f"{service}-orders", "callCount": 1} in links
    else:
        assert links == []
