"""The example services, started as `obskit demo` starts them: one trace through frameworks, clients and a queue."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from obskit.cli.demo_services import SERVICES, Service, running
from obskit.collector.server import CollectorServer

ROOT = Path(__file__).parents[2]
SERVED = 10
FAILED = 5


class Restaurant:
    """The waiter's address, and what the collector knows."""

    def __init__(self, waiter: str, collector: str) -> None:
        self.waiter = waiter
        self.collector = collector

    def order(self, dish: str, **headers: str) -> tuple[int, dict[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return get(f"{self.waiter}/order/{dish}", named)

    def trace(self, trace_id: str, size: int) -> dict[tuple[str, str], list[dict]]:
        """Return the spans of a trace of ``size`` spans, when it is complete, by service and kind."""
        deadline = monotonic() + 20
        spans: list[dict] = []
        while len(spans) < size:
            assert monotonic() < deadline, f"{len(spans)} of {size} spans: {spans}"
            sleep(0.05)
            status, body = get(f"{self.collector}/api/v2/trace/{trace_id}")
            spans = body if status == 200 else []
        assert len(spans) == size
        found: dict[tuple[str, str], list[dict]] = {}
        for span in sorted(spans, key=lambda span: span["timestamp"]):
            found.setdefault((span["localEndpoint"]["serviceName"], span["kind"]), []).append(span)
        return found


def get(url, headers=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"{}") if "json" in error.headers["content-type"] else {}


@pytest.fixture(scope="module")
def restaurant():
    with CollectorServer() as collector, running(collector.url) as services:
        yield Restaurant(f"http://127.0.0.1:{services['a'].port}", collector.url)


def b3(digits=32, **more):
    trace_id = secrets.token_hex(digits // 2)
    return trace_id, {"X-B3-TraceId": trace_id, "X-B3-SpanId": "00000000000000cc", **more}


def assert_calls(parent, client, server):
    assert client["parentId"] == parent["id"]
    assert server["parentId"] == client["id"]


@pytest.mark.parametrize("digits", [16, 32])
def test_one_order_is_one_complete_trace_through_five_services(digits, restaurant):
    trace_id, headers = b3(digits, **{"X-B3-Sampled": "1"})
    status, meal = restaurant.order("pasta", **headers)
    assert (status, meal) == (200, {"dish": "pasta with tomatoes and basil", "drink": "red wine"})
    spans = restaurant.trace(trace_id, SERVED)
    [a], [b], [c], [d] = (spans[name, "SERVER"] for name in "abcd")
    to_b, to_d = spans["a", "CLIENT"]
    [to_c], [query] = spans["b", "CLIENT"], spans["d", "CLIENT"]
    [put], [taken] = spans["a", "PRODUCER"], spans["e", "CONSUMER"]
    assert a["parentId"] == "00000000000000cc"
    assert_calls(a, to_b, b)
    assert_calls(b, to_c, c)
    assert_calls(a, to_d, d)
    assert_calls(a, put, taken)
    assert query["parentId"] == d["id"]
    assert [span["name"] for span in (a, b, c, d)] == [
        "get /order/<dish>",
        "get /cook/<str:dish>",
        "get /ingredients/{dish}",
        "get /drink/<dish>",
    ]
    every = [a, b, c, d, to_b, to_c, to_d]
    assert {span["traceId"] for span in (*every, query, put, taken)} == {trace_id}
    assert {span["tags"]["http.status_code"] for span in every} == {"200"}
    assert not [span for span in every if "error" in span["tags"] or span.get("debug")]
    assert [span["tags"]["http.path"] for span in (to_b, to_c, to_d)] == [
        "/cook/pasta",
        "/ingredients/pasta",
        "/drink/pasta",
    ]


def test_a_failure_is_an_error_in_every_span_on_its_way(restaurant):
    trace_id, headers = b3()
    status, meal = restaurant.order("fugu", **headers)
    assert (status, meal) == (502, {"sorry": "no fugu today"})
    spans = restaurant.trace(trace_id, FAILED)
    assert {key: [span["tags"]["http.status_code"] for span in found] for key, found in spans.items()} == {
        ("a", "SERVER"): ["502"],
        ("a", "CLIENT"): ["502"],
        ("b", "SERVER"): ["502"],
        ("b", "CLIENT"): ["500"],
        ("c", "SERVER"): ["500"],
    }
    errors = {key: found[0]["tags"]["error"] for key, found in spans.items()}
    assert errors.pop(("c", "SERVER")) == "LookupError: nothing on the shelves for fugu"
    assert errors == {("a", "SERVER"): "502", ("a", "CLIENT"): "502", ("b", "SERVER"): "502", ("b", "CLIENT"): "500"}


def test_debug_from_the_client_reaches_every_span(restaurant):
    trace_id, headers = b3(16, **{"X-B3-Flags": "1"})
    restaurant.order("curry", **headers)
    spans = restaurant.trace(trace_id, SERVED)
    assert all(span["debug"] for found in spans.values() for span in found)


@pytest.mark.parametrize("deny", [{"X-B3-Sampled": "0"}, {"b3": "0"}])
def test_a_client_that_denies_is_served_without_a_trace(deny, restaurant):
    denied, headers = b3(16)
    status, meal = restaurant.order("soup", **({"b3": "0"} if "b3" in deny else {**headers, **deny}))
    assert (status, meal["drink"]) == (200, "water")
    later, headers = b3(16)
    restaurant.order("curry", **headers)
    restaurant.trace(later, SERVED)  # each service sends in order: what is not there now was not recorded
    assert get(f"{restaurant.collector}/api/v2/trace/{denied}")[0] == 404
    traces = get(f"{restaurant.collector}/api/v2/traces?limit=1000")[1]
    assert not [span for trace in traces for span in trace if span["tags"].get("http.path", "").endswith("/soup")]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start(name: str, stack: ExitStack, environment: dict[str, str]) -> None:
    command = [sys.executable, ROOT / "examples" / f"{name}.py"]
    process = stack.enter_context(
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    )
    stack.callback(process.send_signal, signal.SIGKILL)


def test_each_service_also_runs_by_itself_with_its_frameworks_own_server():
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorServer())
        ports = {name: free_port() for name in SERVICES}
        addresses = {f"{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()}
        shared = {**os.environ, **addresses, "OBSKIT_EXPORTER": collector.url}
        for name, port in ports.items():
            start(name, stack, {**shared, "PORT": str(port)})
        restaurant = Restaurant(addresses["A_URL"], collector.url)
        for name, port in ports.items():
            await_answer(Service(name, port, None, None))
        trace_id, headers = b3()
        assert restaurant.order("pasta", **headers)[0] == 200
        assert len(restaurant.trace(trace_id, SERVED)) == 9


def await_answer(service):
    deadline = monotonic() + 30
    while not answers(service):
        assert monotonic() < deadline, f"{service.name} does not answer"
        sleep(0.05)


def answers(service):
    try:
        service.probe()
    except OSError:
        return False
    return True
