"""A collector with something to see on every page: an hour of a small shop, its lines, a profile and its cluster."""

from __future__ import annotations

import json
import time
from typing import Any

from obskit.collector.server import CollectorServer

from .conftest import client_of
from .profiles.test_profiles import MAIN, PARSE, WORK, pprof, sample
from .test_kubernetes import CRASHING, deployment, listed, pod

SLOW, FAILING, LONG = "51", "fa", "70"
PAGES = (
    *(
        "/",
        "/?last=all",
        "/?last=x",
        "/services/orders",
        "/services/front?last=all",
        "/services/nobody",
        "/graph",
        "/graph?service=orders&last=all",
    ),
    *(
        "/traces?limit=20",
        "/traces?service=front&last=all&sort=-took&limit=3",
        "/traces?min=x",
        "/traces?service=nobody",
    ),
    *(f"/traces/{SLOW}", f"/traces/{FAILING}?span=2", f"/traces/{LONG}", "/traces/77"),
    *(f"/traces/{FAILING}?view=flame", f"/traces/{LONG}?view=flame&find=step"),
    *("/logs?limit=20", "/logs?severity=error", "/logs?q=nothing+like+it", "/logs?q=traceback&follow=1"),
    *("/profiles", "/profiles?service=orders&type=cpu&by=thread&find=parse", "/profiles?service=nobody"),
    *(f"/compare/{SLOW}/{FAILING}", f"/compare/{LONG}/{SLOW}?sort=difference"),
    *("/compare", f"/compare?trace={SLOW}", f"/compare?trace={SLOW}&trace={FAILING}"),
    *("/profiles?service=orders&base=1d", "/profiles?service=front&type=wall&version=2&base=version:1"),
    "/profiles?service=front&base=x",
    *("/incidents", "/kubernetes", "/kubernetes?cluster=main&namespace=shop", "/find?q=nothing"),
)
"""Every page, and what else it may say than what it shows as a rule."""
SETTLED = """performance.getEntriesByType("navigation")[0]?.loadEventEnd > 0
    && (!document.querySelector("#scatter, #trace") || document.documentElement.dataset.ready)"""
"""JavaScript that is true once the scripts have drawn what they asked for."""

_MINUTE = 60_000_000
_TRACEBACK = """no such order
Traceback (most recent call last):
  File "/app/orders.py", line 12, in find
    return STORE[number]
KeyError: '7'"""


def fill(server: CollectorServer) -> None:
    """Post all of it."""
    client, now = client_of(server), int(time.time() * 1_000_000)
    traces = [_trace(f"a{number:x}", now - (number % 55 + 1) * _MINUTE, 9_000 + number * 40) for number in range(220)]
    traces += [_trace(f"b{number:x}", now - 9 * _MINUTE, 4_000, error="KeyError: '7'") for number in range(8)]
    traces += [
        _trace(SLOW, now - 5_000_000, 900_000),
        _trace(FAILING, now - 3_000_000, 8_000, error="KeyError: " + "y" * 500),
    ]
    spans = [span for trace in traces for span in trace]
    assert client.post([*spans, *_repeats(now - 2_000_000)]).status == 202
    lines = [_line("INFO", f"order {number} is made", now - number * _MINUTE // 4) for number in range(250)]
    lines += [_line("WARNING", "slow " + "x" * 400, now), _line("CRITICAL", "out of plates", now)]
    lines += [_line("ERROR", _TRACEBACK, now, FAILING), _line("INFO", "looking for the order", now, SLOW)]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert client.post(body, "/api/obskit/v1/lines?service=orders&instance=one").status == 200
    samples = [
        sample([MAIN, WORK, PARSE], 600_000_000, trace_id=SLOW.zfill(32), thread="one", http__route="/orders/{id}"),
        sample([MAIN, WORK], 300_000_000, thread="two"),
    ]
    for service, kind in (("orders", "cpu"), ("orders", "wall"), ("front", "cpu")):
        profile = pprof(samples, kind, now - 20_000_000)
        assert client.post(profile, f"/ingest?name={service}&format=pprof").status == 200
    for version, stack in (("1", [MAIN, WORK]), ("2", [MAIN, WORK, PARSE])):
        profile = pprof([sample(stack, 10**9, service__version=version)], "wall", now - 20_000_000)
        assert client.post(profile, "/ingest?name=front&format=pprof").status == 200
    pods = [pod("orders-6d4b75cb6d-x1", ready=False, restarts=7, state=CRASHING), pod("orders-6d4b75cb6d-y2")]
    objects = listed(*pods, pod("x" * 200, namespace="web"), deployment(2, 1))
    assert client.post(objects, "/api/obskit/v1/kubernetes?cluster=main").status == 200


def _trace(trace_id: str, end: int, took: int, **tags: str) -> list[dict[str, Any]]:
    """Return a request to the front, which asks the orders, which ask their database."""

    def span(number: int, parent: int, service: str, kind: str | None, name: str, part: float, **more: Any) -> Any:
        one = {"traceId": trace_id, "id": str(number), "name": name, "localEndpoint": {"serviceName": service}}
        own = {"timestamp": end - int(took * part), "duration": int(took * (2 * part - 1)) + 1, **more}
        return one | own | ({"parentId": str(parent)} if parent else {}) | ({"kind": kind} if kind else {})

    called = {"remoteEndpoint": {"serviceName": "database"}}
    return [
        span(1, 0, "front", "SERVER", "get /", 1, tags={"http.path": "/", **tags}),
        span(2, 1, "front", "CLIENT", "get", 0.9, tags=tags),
        {
            **span(2, 1, "orders", "SERVER", "get /orders/{id}", 0.85, tags={"http.method": "GET", **tags}),
            "shared": True,
        },
        span(3, 2, "orders", "CLIENT", "select orders", 0.8, tags={"sql.query": "select ?"}, **called),
    ]


def _repeats(end: int) -> list[dict[str, Any]]:
    """Return a trace with many calls of one kind, and more that a page without script shows at once."""
    root = {"traceId": LONG, "id": "1", "name": "report", "timestamp": end, "duration": 900_000}
    endpoint = {"localEndpoint": {"serviceName": "reports"}}
    child = {"traceId": LONG, "parentId": "1", "timestamp": end, "duration": 1000, **endpoint}
    same = [{**child, "id": f"{number:x}", "name": "select " + "x" * 300} for number in range(2, 50)]
    return [root | endpoint, *same, *[{**child, "id": f"{n:x}", "name": f"step {n}"} for n in range(50, 350)]]


def _line(severity: str, message: str, at: int, trace: str = "") -> dict[str, Any]:
    seconds, rest = divmod(at, 1_000_000)
    line = {"severity": severity, "message": message, "timestampSeconds": seconds, "timestampNanos": rest * 1000}
    traced = {"logging.googleapis.com/trace": trace.zfill(32), "logging.googleapis.com/spanId": "2".zfill(16)}
    return line | (traced if trace else {}) | {"logger": "shop.orders", "size": 3}
