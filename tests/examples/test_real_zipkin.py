"""The demo's traffic, sent to the embedded collector and the real Zipkin server at once, reads the same from both."""

from __future__ import annotations

import json
from time import monotonic, sleep

import pytest

from obskit.cli.demo_services import running
from obskit.collector.server import CollectorServer

from tests import zipkin_server as reference
from .test_examples import FAILED, SERVED, b3, get

ORDERS = [
    ("pasta", SERVED, {"X-B3-Sampled": "1"}),
    ("dragon", FAILED, {"X-B3-Sampled": "1"}),
    ("pasta", SERVED, {"X-B3-Flags": "1"}),
]


@pytest.fixture(scope="module")
def zipkin():
    try:
        with reference.running() as port:
            yield f"http://127.0.0.1:{port}"
    except reference.Unavailable as error:
        pytest.skip(f"no Zipkin server: {error}")


def complete(url, trace_id, size):
    """Return a trace of ``size`` spans in an order of its own; both servers promise none."""
    deadline = monotonic() + 30
    while True:
        status, spans = get(f"{url}/api/v2/trace/{trace_id}")
        if status == 200 and len(spans) == size:
            return sorted(json.dumps(span, sort_keys=True) for span in spans)
        assert monotonic() < deadline, f"{url}: {status} {spans}"
        sleep(0.05)


def test_the_same_traces_are_read_back_from_both(zipkin):
    with CollectorServer() as collector, running(f"{collector.url},{zipkin}") as services:
        ids = []
        for dish, size, decision in ORDERS:
            trace_id, headers = b3(**decision)
            get(f"http://127.0.0.1:{services['a'].port}/order/{dish}", headers)
            ids.append((trace_id, size))
        for trace_id, size in ids:
            assert complete(collector.url, trace_id, size) == complete(zipkin, trace_id, size)
        for path in ("services", "spans?serviceName=a", "spans?serviceName=c"):
            ours, theirs = (get(f"{url}/api/v2/{path}") for url in (collector.url, zipkin))
            assert ours == theirs
