"""Sampling where it works: real servers, a real receiver, the public options, and a ledger that adds up."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

import obskit
from obskit.instrumentation.tracer import provider
from obskit.integrations.asgi import ObskitMiddleware
from obskit.integrations.flask import instrument
from obskit.testing.servers import asgi_server, wsgi_server
from obskit.tracing.sampling.head import SamplingOptions
from tests.export.conftest import fresh  # noqa: F401 - a fixture
from tests.export.receiver import Receiver, eventually, receiver, reply, run

TRACE, SPAN = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"


@pytest.fixture(autouse=True)
def sampling_as_before(fresh: None) -> Iterator[None]:  # noqa: F811
    """Count from nought, and leave the provider as it was found."""
    provider.renew_sampling()
    yield
    provider.sample(SamplingOptions(), lambda: 0.0)
    provider.renew_sampling()


def work(what: str) -> dict[str, str]:
    """Do what a request asks for; return the headers that a call made meanwhile would carry."""
    with obskit.span("inner"):
        if what == "raise":
            raise ValueError("no")
        if what == "slow":
            time.sleep(0.06)
        return dict(obskit.inject({}))


def flask_app() -> AbstractContextManager[str]:
    app = Flask("sampled")

    def answer(what: str) -> Response:
        return Response(str(work(what).get("X-B3-Sampled")), 503 if what == "503" else 200)

    def stream() -> Response:
        def body() -> Iterator[str]:
            yield "some"
            work("raise")

        return Response(body())

    app.add_url_rule("/do/<what>", "do", answer, methods=["GET", "POST"])
    app.add_url_rule("/stream", "stream", stream)
    return wsgi_server(instrument(app))


def starlette_app() -> AbstractContextManager[str]:
    async def answer(request):
        what = request.path_params["what"]
        return PlainTextResponse(str(work(what).get("X-B3-Sampled")), 503 if what == "503" else 200)

    async def stream(_request):
        async def body():
            yield "some"
            work("raise")

        return StreamingResponse(body())

    routes = [Route("/do/{what}", answer, methods=["GET", "POST"]), Route("/stream", stream)]
    return asgi_server(ObskitMiddleware(Starlette(routes=routes)))


@pytest.fixture(params=[flask_app, starlette_app], ids=["flask", "starlette"])
def site(request) -> Iterator[str]:
    with request.param() as url:
        yield url


def ask(site: str, path: str, method: str = "GET", **headers: str) -> str:
    """Return the body, as far as there is one."""
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().read().decode()
    except http.client.IncompleteRead as error:
        return error.partial.decode()
    finally:
        connection.close()


def init(server: Receiver, **options) -> None:
    obskit.init(service="shop", exporter=server.url, integrations=[], logs="off", **options)


def server_spans(server: Receiver) -> list[str]:
    """Return the paths of the requests that were reported, in order."""
    assert obskit.flush(10)
    return [span["tags"]["http.path"] for span in server.spans if span.get("kind") == "SERVER"]


def left_out() -> int:
    stats = obskit.stats()
    return stats["sampled_out"] + sum(stats["sampling"]["limited"].values())


def test_rules_decide_by_path_method_and_route_before_the_framework_has_routed(site):
    rules = [
        {"service": "other", "rate": 1},
        {"path": "/do/health*", "rate": 0},
        {"method": "POST", "path": "/do/*", "kind": "server", "rate": 1},
        {"route": "/do/{what}", "limit": 0},
    ]
    with receiver() as server:
        init(server, sample_rules=rules)
        told = [ask(site, "/do/healthz", "POST"), ask(site, "/do/a", "POST"), ask(site, "/do/b"), ask(site, "/stream")]
        assert told == ["0", "1", "0", "some"]
        eventually(lambda: server_spans(server) == ["/do/a", "/stream"])
        assert obskit.stats()["sampled_out"] == 1
        assert obskit.stats()["sampling"]["limited"] == {"rule_limit": 1}


@pytest.mark.parametrize("path", ["/do/raise", "/do/503", "/stream"])
def test_a_request_that_fails_is_kept_with_all_its_spans_though_it_was_not_sampled(site, path):
    with receiver() as server:
        init(server, sample_rate=0, keep_errors=True)
        assert ask(site, "/do/fine") == "0"
        ask(site, path)
        ask(site, "/do/fine")
        eventually(lambda: server_spans(server) == [path])
        inner, outer = server.spans
        assert (inner["name"], inner["parentId"], inner["traceId"]) == ("inner", outer["id"], outer["traceId"])
        eventually(lambda: left_out() == 2)
        assert obskit.stats()["sampling"]["kept"] == {"error": 1}
        assert obskit.stats()["sampling"]["held"] == 0


def test_what_a_caller_did_is_no_error_of_the_service(site):
    with receiver() as server:
        init(server, sample_rate=0, keep_errors=True)
        ask(site, "/nowhere")
        eventually(lambda: left_out() == 1)
        assert server_spans(server) == []


def test_a_slow_request_is_kept_though_it_was_not_sampled(site):
    with receiver() as server:
        init(server, sample_rate=0, keep_slow=0.06)
        ask(site, "/do/slow")
        eventually(lambda: server_spans(server) == ["/do/slow"])
        assert obskit.stats()["sampling"]["kept"] == {"slow": 1}


def test_a_failure_is_kept_although_the_caller_denied_its_trace_and_continues_it(site):
    with receiver() as server:
        init(server, keep_errors=True)
        for path in ("/do/fine", "/do/503"):
            assert ask(site, path, b3=f"{TRACE}-{SPAN}-0") == "0"
        eventually(lambda: server_spans(server) == ["/do/503"])
        assert [(span["traceId"], span["parentId"]) for span in server.spans][1] == (TRACE, SPAN)
        assert left_out() == 0


def test_without_the_options_what_the_caller_decides_stands_errors_or_not(site):
    with receiver() as server:
        init(server, sample_rate=0)
        ask(site, "/do/503")
        ask(site, "/do/raise", b3="0")
        ask(site, "/do/fine", b3="1")
        eventually(lambda: server_spans(server) == ["/do/fine"])
        assert obskit.stats()["sampled_out"] == 1


def test_a_flood_of_forced_traces_gets_no_more_than_the_inbound_limit(site):
    with receiver() as server:
        init(server, inbound_limit=3)
        began = time.monotonic()
        for _ in range(60):
            ask(site, "/do/fine", b3=f"{TRACE}-{SPAN}-d")
        seconds = time.monotonic() - began
        eventually(lambda: len(server_spans(server)) + left_out() == 60)
        assert 3 <= len(server_spans(server)) <= 3 * (seconds + 2)
        assert set(obskit.stats()["sampling"]["limited"]) <= {"inbound_limit"}


def test_a_stuck_receiver_lowers_the_rate_until_it_takes_spans_again(caplog):
    caplog.set_level(logging.INFO, "obskit")
    go_on = threading.Event()

    def answer(connection: socket.socket) -> bool:
        go_on.wait()
        return reply(202)(connection)

    with receiver(answer) as server:
        init(server, queue_size=2000, batch_size=100, flush_interval=0, export_timeout=60)
        try:
            for _ in range(10_000):
                with obskit.span("work"):
                    pass
            stuck = obskit.stats()
        finally:
            go_on.set()
        sampling, exporter = stuck["sampling"], stuck["exporters"][0]
        assert (sampling["rate"], sampling["reason"]) == (1.0, "backpressure")
        assert 0 < sampling["effective_rate"] < 0.1
        assert exporter["dropped"] == {}
        assert 1000 < exporter["queued"] < 2000
        assert exporter["produced"] + sampling["limited"]["backpressure"] == 10_000
        eventually(lambda: obskit.stats()["sampling"]["effective_rate"] == 1.0)
        with obskit.span("work"):
            pass
        assert obskit.flush(10)
        assert obskit.stats()["exporters"][0]["delivered"] == exporter["produced"] + 1
    lines = [record.getMessage() for record in caplog.records if "new traces" in record.getMessage()]
    assert [line.rpartition(": ")[2] for line in lines] == [
        "fewer new traces are kept",
        "new traces are kept as configured",
    ]


def test_switched_off_a_full_queue_drops_spans_instead():
    stop = threading.Event()
    with receiver(lambda _: stop.wait()) as server:
        init(server, queue_size=2000, batch_size=100, flush_interval=0, backpressure=False)
        for _ in range(3000):
            with obskit.span("work"):
                pass
        found = obskit.stats()
        stop.set()
    assert found["sampling"]["limited"] == {}
    assert found["exporters"][0]["dropped"]["queue_full"] >= 900


@pytest.mark.parametrize(("queue_size", "batch_size", "waiting"), [(1000, 1000, 900), (2000, 1500, 1400)])
def test_spans_that_wait_for_their_batch_say_nothing_about_the_receiver(queue_size, batch_size, waiting):
    with receiver() as server:
        init(server, queue_size=queue_size, batch_size=batch_size, flush_interval=3600)
        for _ in range(waiting):
            with obskit.span("work"):
                pass
        assert obskit.stats()["sampling"]["effective_rate"] == 1


def test_a_forked_child_keeps_its_own_failures_counts_anew_and_has_the_full_limit():
    """The parent is amid a held trace when it forks; that one stays the parent's to decide."""
    code = """
import os, sys, obskit
obskit.init(exporter=sys.argv[1], integrations=[], sample_rules=[{"name": "some*", "limit": 1}], sample_rate=0,
            keep_errors=True)
def trace(name):
    with obskit.continue_trace({}), obskit.span(name) as span:
        if "bad" in name: span.error("broken")
def shown():
    stats = obskit.stats()
    return stats["sampled_out"], stats["sampling"]["kept"], stats["sampling"]["held"]
for name in ("good", "bad", "some"): trace(name)
with obskit.span("parent") as held:
    pid = os.fork()
    if pid == 0:
        for name in ("good", "good", "bad child", "some"): trace(name)
        with obskit.span("a part of the parent's trace"): pass
        print(shown(), flush=True)
        held.error("not this process's to tell")
        held.end()
        print(shown(), flush=True)
        os._exit(not obskit.flush(10))
    status = os.waitpid(pid, 0)[1]
    held.error("broken")
print(shown(), status, flush=True)
"""
    with receiver() as server:
        done = run(code, server.url)
        assert (done.returncode, done.stderr) == (0, "")
        parts = sorted(name for name in server.names)
    child = "(2, {'error': 1}, 0)"
    assert done.stdout.splitlines() == [child, child, "(1, {'error': 2}, 0) 0"]
    assert parts == ["a part of the parent's trace", "bad", "bad child", "parent", "some", "some"]
