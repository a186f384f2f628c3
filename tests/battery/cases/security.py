"""Headers from outside, secrets from inside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.battery.backend import Answer, Backend, Request, backend, reply
from tests.battery.lab import Lab, Run
from tests.battery.registry import case

_VECTORS = Path(__file__).parents[2] / "data" / "b3_extract.json"
_TRACE, _SPAN = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"
_MOST_TIME = 50  # µs
_OURS: list[dict[str, Any]] = [
    {"headers": {"b3": f"{_TRACE}-{_SPAN}-1", "X-B3-TraceId": "1" * 16, "X-B3-SpanId": "2" * 16}, "trace": _TRACE},
    {"headers": {"b3": "1-" * 500_000}, "trace": None},
    {"headers": {"b3": "\u0661" * 32 + "-" + "\u0661" * 16}, "trace": None},
    {"headers": {"X-B3-TraceId": "\u0661" * 32, "X-B3-SpanId": "\u0661" * 16}, "trace": None},
    {"headers": {"X-B3-TraceId": "<script>alert(1)</script>", "X-B3-SpanId": "zz"}, "trace": None},
    {"headers": {"b3": f"{_TRACE}-{_SPAN}-1-{_SPAN}-extra"}, "trace": None},
    {"headers": {"b3": f"{_TRACE}-{_SPAN}-1,{_TRACE}-{_SPAN}-1"}, "trace": None},
]


@case(
    45,
    "b3-table",
    "200 header sets of the reference and 7 hostile ones",
    f"as the reference; {_MOST_TIME} µs at most; never logged",
)
def b3_table(lab: Lab) -> str:
    vectors = json.loads(_VECTORS.read_text())
    headers = [one["headers"] for one in [*vectors, *_OURS]]
    (lab.folder / "headers.json").write_text(json.dumps(headers))
    options = {"OBSKIT_BACKPRESSURE": "false", "OBSKIT_QUEUE_SIZE": "1000000"}
    with backend() as server:
        run = lab.run("b3_headers", server.url, "headers.json", 2000 if lab.thorough else 200, **options)
        assert (run.code, run.err, run.log) == (0, "", ""), f"exit {run.code}: {run.err[-500:]}{run.log[-500:]}"
        found = {span["tags"]["http.path"]: span for request in server.taken for span in request.spans}
    _check_reference(vectors, found)
    _check_hostile(len(vectors), found)
    cost = run.notes["cost"]
    assert cost <= _MOST_TIME, f"a hostile header costs {cost:.0f} µs"
    return f"{len(headers)}/{len(headers)} header sets, {cost:.0f} µs at most"


def _check_reference(vectors: list[dict[str, Any]], found: dict[str, Any]) -> None:
    for number, vector in enumerate(vectors):
        span = found.get(f"/{number}")
        assert _as_reference(span, vector["expect"]), f"{vector} gave {span}"


def _check_hostile(first: int, found: dict[str, Any]) -> None:
    for number, one in enumerate(_OURS, first):
        trace = found[f"/{number}"]["traceId"]
        assert trace == one["trace"] or (one["trace"] is None and trace not in str(one)), one


def _as_reference(span: dict[str, Any] | None, expect: dict[str, Any]) -> bool:
    """Compare a server's span with what the reference makes of the headers; every undecided trace is recorded here."""
    if expect["sampled"] is False:
        return span is None
    if span is None or bool(span.get("debug")) != expect["debug"]:
        return False
    if expect["trace_id"] is None:
        return "parentId" not in span
    return span["traceId"] == expect["trace_id"] and expect["span_id"] in (span["id"], span.get("parentId"))


@case(46, "force-sample", "20 000 forced requests at once, inbound_limit=100", "no more recorded than the limit")
def forced_sampling(lab: Lab) -> str:
    limit = 100
    with backend() as server:
        run = lab.run("forced_sampling", server.url, OBSKIT_INBOUND_LIMIT=str(limit), OBSKIT_SAMPLE_RATE="0")
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
        seconds, recorded = run.notes["seconds"], run.total("produced")
        most = limit * (seconds + 1)
        assert recorded <= most, f"{recorded} recorded in {seconds:.1f} s, not {most:.0f}"
        least = limit * min(1, seconds - 0.2)  # a second's traces are spread over its tenths
        assert recorded >= least, f"only {recorded} recorded, not {least:.0f}: the limit takes more than it should"
        lab.settled(run, server, recorded + run.sampled_out, recorded)
        return f"{recorded} of 20 000 recorded in {seconds:.1f} s"


@case(
    47,
    "secrets",
    "canaries in URLs, headers, cookies, SQL, exceptions, locals, environment, logs",
    "none in spans, none in log lines",
)
def secrets(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("planted_secrets", server.url, OBSKIT_INTEGRATIONS="", OBSKIT_LOGS="json")
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err[-500:]}"
        leaks, planted = _leaks(run, server), run.notes["canaries"]
        assert not leaks, f"{len(leaks)} of {planted} leak: " + "; ".join(leaks)
        assert len(server.names) >= 14, f"only {len(server.names)} spans: nothing was traced"
        lab.settled(run, server, len(server.names))
        return f"0 of {planted} canaries in {len(server.names)} spans and {len(run.out.splitlines())} log lines"


def _leaks(run: Run, server: Backend) -> list[str]:
    """Return each canary that got out, with its surroundings."""
    places = {"span": "".join(one.head + one.body.decode() for one in server.requests), "log": run.out + run.log}
    found: dict[str, str] = {}
    for place, text in places.items():
        for match in re.finditer(r"cAnArY\d+zz", text):
            found.setdefault(match[0], f"{place}: ...{text[max(0, match.start() - 60) : match.end() + 5]}")
    return list(found.values())


@case(48, "third-party", "calls to a host off the list, directly and by a redirect", "no trace headers there")
def third_party(lab: Lab) -> str:
    with backend() as server, backend() as ours, backend() as theirs:
        ours.questions = _redirect_to(f"http://localhost:{theirs.port}/redirected")
        urls = {"OURS": f"http://127.0.0.1:{ours.port}", "THEIRS": f"http://localhost:{theirs.port}"}
        options = {"OBSKIT_PROPAGATE_TO": "127.0.0.1", "OBSKIT_INTEGRATIONS": ""}
        run = lab.run("third_party_calls", server.url, **urls, **options)
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err[-500:]}"
        assert len(theirs.requests) == 8, f"{len(theirs.requests)} requests of 8"
        assert all(_carries_trace(one) for one in ours.requests), "no headers to a host on the list"
        told = [one for one in theirs.requests if _carries_trace(one)]
        assert not told, f"{len(told)} of 8 requests to a host off the list carry the trace"
        return "0 of 8 requests to a host off the list carry the trace, 8 of 8 to one on it"


def _carries_trace(request: Request) -> bool:
    """By the headers' names: ``b3`` alone is also in what urllib3 calls itself."""
    return any(line.startswith(("b3:", "x-b3-", "traceparent:")) for line in request.head.lower().splitlines())


def _redirect_to(target: str) -> Answer:
    found, away = reply(200), reply(302, f"Location: {target}\r\n")
    return lambda request, connection: (away if request.path == "/redirect" else found)(request, connection)
