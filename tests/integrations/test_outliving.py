"""What a request brought ends with it: no connection, thread, task or timer that lives on keeps any of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import queue
import socket
import threading
import types
import urllib.request
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

import httpx
import hypercorn.asyncio
import hypercorn.config
import pytest
import requests
import urllib3
from opentelemetry import baggage
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,
    Context,
    attach,
    detach,
    get_current,
    get_value,
    set_value,
)
from opentelemetry.sdk.trace import TracerProvider as OtherProvider
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import obskit
from obskit.instrumentation.client import begin
from obskit.instrumentation.current_exchange import exchange_of
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.tracer import propagator
from obskit.integrations import install
from obskit.integrations.asgi import ObskitMiddleware
from obskit.integrations.wsgi import ObskitMiddleware as WsgiMiddleware
from obskit.logs.context import current_trace, log_fields
from obskit.testing import recording
from obskit.testing.client_cases.upstream import Upstream, upstream_handler
from obskit.testing.servers import asgi_server, http_server
from obskit.tracing.current import current_span, stored_context

FIRST, LAST = "a" * 32, "c" * 32
REQUESTS = [
    (b"x" * 100_000, {"X-Request-Id": "alice", "b3": "0"}),
    (b"", {}),
    (b"x", {"X-B3-Flags": "1"}),
    (b"", {"b3": f"{LAST}-{'d' * 16}-1"}),
]


@contextmanager
def suppress_instrumentation():
    """Do what `opentelemetry.instrumentation.utils` does, which the oldest versions are tested without."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        detach(token)


@pytest.fixture(autouse=True)
def carried():
    patches, hooks = Patches(), ImportHooks()
    install(["threading"], hooks, patches)
    yield
    hooks.remove()
    patches.remove()


@pytest.fixture
def spans():
    with recording() as recorder:
        recorder.assert_empty = lambda: None
        yield recorder


async def echo(scope, receive, send):
    """Answer with what would go out from here, and what the log would carry."""
    while (await receive()).get("more_body"):
        pass
    found = {name.lower(): value for name, value in obskit.inject({}).items()}
    with obskit.log_context(user=found.get("x-request-id")):
        text = json.dumps({**found, "span_id": current_span().span_id}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})


@contextmanager
def hypercorn_server(application):
    """Serve an ASGI application with hypercorn."""
    started: Future = Future()

    async def serve():
        listener = socket.create_server(("127.0.0.1", 0))
        config, told = hypercorn.config.Config(), asyncio.Event()
        config.bind = [f"fd://{listener.detach()}"]
        config.graceful_timeout = 0.1
        port = socket.socket(fileno=int(config.bind[0][5:]))
        started.set_result((asyncio.get_running_loop(), told, port.getsockname()[1]))
        port.detach()
        await hypercorn.asyncio.serve(application, config, shutdown_trigger=told.wait, mode="asgi")

    thread = threading.Thread(target=asyncio.run, args=[serve()], daemon=True)
    thread.start()
    loop, told, port = started.result(10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(told.set)
        thread.join(10)


@contextmanager
def uvicorn_with_httptools(application):
    pytest.importorskip("httptools")
    with asgi_server(application, "httptools") as url:
        yield url


def one_after_another(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    for content, headers in REQUESTS:
        connection.request("POST", "/", content, headers)
        yield json.loads(connection.getresponse().read())
    connection.close()


def pipelined(url):
    """Send all requests before the first answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        for content, headers in REQUESTS:
            head = {"Host": "h", "Content-Length": len(content), **headers}
            lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
            connection.sendall("\r\n".join(lines).encode() + content)
        for _ in REQUESTS:
            response = http.client.HTTPResponse(connection)
            response.fp = Unbuffered(connection)
            response.begin()
            yield json.loads(response.read())


class Unbuffered:
    """Reads one response from a connection, and nothing of the next."""

    def __init__(self, connection):
        self.connection = connection

    def readline(self, limit=-1):
        line = b""
        while not line.endswith(b"\n"):
            line += self.connection.recv(1)
        return line

    def read(self, size):
        text = b""
        while len(text) < size:
            text += self.connection.recv(size - len(text))
        return text

    def flush(self):
        pass

    def close(self):
        pass


@pytest.mark.parametrize("send", [one_after_another, pipelined])
@pytest.mark.parametrize("serve", [asgi_server, uvicorn_with_httptools, hypercorn_server])
def test_requests_of_one_connection_begin_from_their_own_headers(spans, serve, send):
    with serve(ObskitMiddleware(echo)) as url:
        first, second, third, last = send(url)
    assert len({answer["x-b3-traceid"] for answer in (first, second, third, last)}) == 4
    assert [answer.get("x-request-id") for answer in (first, second, third, last)] == ["alice", None, None, None]
    assert [answer.get("x-b3-sampled") for answer in (first, second, third, last)] == ["0", "1", None, "1"]
    assert (third["x-b3-flags"], last["x-b3-traceid"]) == ("1", LAST)
    assert all("x-b3-parentspanid" not in answer for answer in (first, second, third))


def test_streams_of_one_http_2_connection_begin_from_their_own_headers(spans):
    async def fetch(url):
        async with httpx.AsyncClient(http1=False, http2=True, timeout=20) as client:
            return await asyncio.gather(
                *(client.post(url, content=content[:100], headers=headers) for content, headers in REQUESTS * 5)
            )

    with hypercorn_server(ObskitMiddleware(echo)) as url:
        answers = [response.json() for response in asyncio.run(fetch(url))]
    assert [answer.get("x-request-id") for answer in answers] == ["alice", None, None, None] * 5
    assert len({answer["span_id"] for answer in answers}) == len(answers)
    assert len({answer["x-b3-traceid"] for answer in answers}) == 16


def serve(work, **headers):
    """Serve one request with ``work``, to its end."""

    def app(environ, start_response):
        with obskit.log_context(user=headers.get("HTTP_X_REQUEST_ID")):
            work()
        start_response("200 OK", [])
        return [b""]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **headers}
    return list(WsgiMiddleware(app)(environ, lambda *_: None))


def look():
    """Return all that code sees of a request where it runs."""
    call = begin("GET", "http://h/", headers := {})
    if call is not None:
        call.finish()
    with obskit.span("work") as span:
        fields = dict(log_fields())
    exchange = exchange_of(stored_context())
    return span.trace_id, current_trace(), fields, headers, obskit.inject({}), exchange


class Worker:
    """Takes jobs from a queue, each of which says what it sees; started by whoever comes first."""

    def __init__(self, kind):
        self.kind = kind
        self.jobs = queue.Queue()
        self.thread = None

    def ask(self):
        if self.thread is None:
            self.thread = self.kind(self._work)
            self.thread.start()
        answer: Future = Future()
        self.jobs.put(answer)
        return answer.result(10)

    def _work(self):
        while (answer := self.jobs.get(timeout=10)) is not None:
            answer.set_result(look())

    def stop(self):
        self.jobs.put(None)
        self.thread.join(10)


class Subclass(threading.Thread):
    def __init__(self, work):
        super().__init__()
        self.work = work

    def run(self):
        self.work()


@contextmanager
def within_a_span(name="inner"):
    with obskit.span(name):
        yield


@contextmanager
def within_a_call():
    call = begin("GET", "http://h/", {})
    token = call.enter()
    try:
        yield
    finally:
        call.leave(token)
        call.finish()


@contextmanager
def directly():
    yield


@pytest.mark.parametrize(
    "kind", [lambda work: threading.Thread(target=work), Subclass, lambda work: threading.Timer(0, work)]
)
@pytest.mark.parametrize("where", [directly, within_a_span, within_a_call])
def test_a_thread_that_a_request_starts_keeps_nothing_of_it(spans, kind, where):
    worker, seen = Worker(kind), []

    def work():
        with where():
            seen.append((obskit.current_span().trace_id, worker.ask()))

    serve(work, HTTP_X_REQUEST_ID="alice", HTTP_B3=f"{FIRST}-{'b' * 16}-1")
    serve(work, HTTP_X_REQUEST_ID="bob")
    idle = worker.ask()
    worker.stop()
    [(_, (trace_id, trace, fields, headers, _, exchange))] = seen[:1]
    assert (trace_id, trace.trace_id, fields, exchange is not None) == (FIRST, FIRST, {"user": "alice"}, True)
    assert headers.get("x-request-id", "alice") == "alice"
    for trace_id, trace, fields, headers, injected, exchange in (seen[1][1], idle):
        assert trace_id not in (FIRST, seen[1][0])
        assert (trace, fields, injected, exchange) == (None, {}, {}, None)
        assert (headers["X-B3-Sampled"], "x-request-id" in headers) == ("1", False)
        assert headers["X-B3-TraceId"] != FIRST


def test_a_thread_that_starts_amid_suppression_is_silent_until_the_request_is_over(spans):
    worker, seen = Worker(Subclass), []

    def work():
        with suppress_instrumentation():
            seen.append(worker.ask())

    serve(work, HTTP_X_REQUEST_ID="alice")
    seen.append(worker.ask())
    worker.stop()
    assert seen[0][3] == {}
    assert (seen[1][3]["X-B3-Sampled"], "x-request-id" in seen[1][3]) == ("1", False)


def test_a_decision_ends_with_its_request(spans):
    worker = Worker(Subclass)
    serve(worker.ask, HTTP_B3="0", HTTP_X_REQUEST_ID="alice")
    assert worker.ask()[3]["X-B3-Sampled"] == "1"
    worker.stop()


def test_a_span_that_is_open_at_the_end_of_the_request_stays_in_its_trace(spans):
    goes_on, seen = threading.Event(), []

    def send_mail():
        with obskit.span("mail"):
            started.set()
            assert goes_on.wait(10)
            seen.append(look())
        seen.append(look())

    def work():
        thread.start()
        assert started.wait(10)

    started, thread = threading.Event(), threading.Thread(target=send_mail)
    serve(work, HTTP_X_REQUEST_ID="alice", HTTP_B3=f"{FIRST}-{'b' * 16}-1")
    goes_on.set()
    thread.join(10)
    assert (seen[0][0], seen[0][4]["x-request-id"]) == (FIRST, "alice")
    assert (seen[1][0] != FIRST, seen[1][4]) == (True, {})


def test_what_a_thread_says_of_its_own_stays(spans):
    """Log fields, spans and suppression that were added after the request's end, by whoever's means."""
    from opentelemetry import trace

    done, seen = threading.Event(), []

    def work():
        assert done.wait(10)
        with obskit.log_context(job=1):
            seen.append(dict(log_fields()))
        other = trace.get_tracer("other", tracer_provider=obskit.instrumentation.tracer.provider).start_span("other")
        with trace.use_span(other, end_on_exit=True):
            seen.append((obskit.current_span() is other, "x-request-id" in obskit.inject({}), other.parent_id))
        with suppress_instrumentation():
            seen.append(begin("GET", "http://h/", {}))

    thread = threading.Thread(target=work)
    serve(thread.start, HTTP_X_REQUEST_ID="alice")
    done.set()
    thread.join(10)
    assert seen == [{"job": 1}, (True, False, None), None]


def of_the_application():
    """Return what the application itself has put into OpenTelemetry's context."""
    return {**baggage.get_all()}, get_value("mine")


@contextmanager
def with_what_is_the_applications():
    token = attach(set_value("mine", 1, baggage.set_baggage("tenant", "acme")))
    try:
        yield
    finally:
        detach(token)


@pytest.mark.parametrize("where", [directly, within_a_span, within_a_call])
@pytest.mark.parametrize("brought", [{}, {"HTTP_BAGGAGE": "old=1"}, {"HTTP_BAGGAGE": "old=1,tenant=other"}])
def test_what_a_thread_has_put_into_the_context_stays(spans, where, brought):
    done, seen = threading.Event(), []

    def work():
        assert done.wait(10)
        with with_what_is_the_applications(), where():
            seen.append((of_the_application(), obskit.inject({})["baggage"]))

    thread = threading.Thread(target=work)
    serve(thread.start, **brought)
    done.set()
    thread.join(10)
    if where is directly:
        assert seen[0][1] == "tenant=acme"
    else:
        assert seen == [(({"tenant": "acme"}, 1), "tenant=acme")]


@pytest.mark.parametrize("own", ["open", "over", "received"])
def test_a_span_of_another_provider_that_a_thread_has_made_current_is_the_parent(spans, own):
    done, seen = threading.Event(), []

    def work():
        assert done.wait(10)
        if own == "received":  # by OpenTelemetry's own propagator, into the thread's context
            attach(TraceContextTextMapPropagator().extract({"traceparent": f"00-{LAST}-{'d' * 16}-01"}, get_current()))
        else:
            span = OtherProvider().get_tracer("other").start_span("other", Context())
            attach(set_span_in_context(span, get_current()))
            seen.append(f"{span.get_span_context().trace_id:032x}")
            if own == "over":
                span.end()
        with obskit.span("job") as job:
            seen.append(job.trace_id)

    thread = threading.Thread(target=work)
    serve(thread.start, HTTP_B3=f"{FIRST}-{'b' * 16}-1")
    done.set()
    thread.join(10)
    if own == "over":
        assert seen[1] not in (FIRST, seen[0])
    else:
        assert seen[-1] == (LAST if own == "received" else seen[0])


def test_what_a_task_was_given_by_the_handler_that_started_it_stays(spans):
    """It would without obskit, too; what the request brought does not."""
    seen = []

    async def job(over):
        await over.wait()
        with obskit.span("job"):
            seen.append(of_the_application())

    async def main():
        async def app(_scope, _receive, send):
            with with_what_is_the_applications():
                tasks.append(asyncio.create_task(job(over)))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        tasks, over = [], asyncio.Event()
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"baggage", b"old=1")]}
        await ObskitMiddleware(app)(scope, None, lambda _: asyncio.sleep(0))
        over.set()
        await tasks[0]

    asyncio.run(main())
    assert seen == [({"tenant": "acme"}, 1)]


@pytest.mark.parametrize("serve", [asgi_server, hypercorn_server])
@pytest.mark.parametrize("outermost", [False, True])
def test_a_request_has_what_a_middleware_around_the_application_has_put_into_the_context(spans, serve, outermost):
    """Each request of a connection, whose context may be what is left of the one before."""

    async def app(_scope, _receive, send):
        text = json.dumps(of_the_application()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})

    traced = ObskitMiddleware(app)

    async def middleware(scope, receive, send):
        with with_what_is_the_applications():
            await traced(scope, receive, send)

    with serve(ObskitMiddleware(middleware) if outermost else middleware) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        answers = []
        for headers in ({"baggage": "old=1"}, {}, {"baggage": "new=2"}):
            connection.request("GET", "/", headers=headers)
            answers.append(json.loads(connection.getresponse().read()))
        connection.close()
    assert answers == [[{**found, "tenant": "acme"}, 1] for found in ({"old": "1"}, {}, {"new": "2"})]


def test_a_block_of_continue_trace_takes_back_what_its_message_brought(spans):
    async def job(over):
        await over.wait()
        with with_what_is_the_applications(), obskit.span("job"):
            seen.append(of_the_application())

    async def main():
        over = asyncio.Event()
        with obskit.continue_trace({"baggage": "old=1"}):
            task = asyncio.create_task(job(over))
        over.set()
        await task

    seen = []
    asyncio.run(main())
    assert seen == [({"tenant": "acme"}, 1)]


def test_work_after_the_response_still_belongs_to_the_request(spans):
    """A background task of Starlette's, or the ``close`` of a WSGI body."""
    seen = []

    async def app(scope, receive, send):
        await echo(scope, receive, send)
        seen.append((current_span().trace_id, obskit.inject({})["x-request-id"]))

    class Closing:
        def __iter__(self):
            return iter([b""])

        def close(self):
            seen.append((current_span().trace_id, obskit.inject({})["x-request-id"]))

    def wsgi(environ, start_response):
        start_response("200 OK", [])
        return Closing()

    async def receive():
        return {"type": "http.request"}

    async def send(_message):
        pass

    b3 = f"{FIRST}-{'b' * 16}-1"
    headers = [(b"b3", b3.encode()), (b"x-request-id", b"alice")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(ObskitMiddleware(app)(scope, receive, send))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_B3": b3, "HTTP_X_REQUEST_ID": "alice"}
    body = WsgiMiddleware(wsgi)(environ, lambda *_: None)
    list(body)
    body.close()
    assert seen == [(FIRST, "alice")] * 2


@pytest.mark.parametrize("where", [directly, within_a_span, within_a_call])
def test_a_task_that_a_request_starts_keeps_nothing_of_it(spans, where):
    async def main():
        over, seen = asyncio.Event(), []

        async def refresh():
            await over.wait()
            seen.append(look())

        async def app(scope, receive, send):
            with where():
                tasks.append(asyncio.create_task(refresh()))
                asyncio.get_running_loop().call_later(0.01, lambda: later.set_result(look()))
            await echo(scope, receive, send)

        async def receive():
            return {"type": "http.request"}

        async def send(_message):
            pass

        tasks, later = [], asyncio.get_running_loop().create_future()
        headers = [(b"b3", f"{FIRST}-{'b' * 16}-1".encode()), (b"x-request-id", b"alice")]
        await ObskitMiddleware(app)({"type": "http", "method": "GET", "path": "/", "headers": headers}, receive, send)
        over.set()
        await tasks[0]
        return [*seen, await later]

    for trace_id, trace, fields, headers, injected, exchange in asyncio.run(main()):
        assert trace_id != FIRST
        assert (trace, fields, injected, exchange, headers["X-B3-Sampled"]) == (None, {}, {}, None, "1")


def test_a_client_librarys_own_thread_is_traced_like_any_other_once_its_call_is_over(spans):
    worker, headers = Worker(Subclass), []
    with within_a_call():
        headers.append(worker.ask()[3])
    headers.append(worker.ask()[3])
    worker.stop()
    assert headers[0] == {}
    assert (headers[1]["X-B3-Sampled"], "X-B3-ParentSpanId" in headers[1]) == ("1", False)


def test_a_thread_that_a_message_starts_keeps_nothing_of_it(spans):
    worker = Worker(Subclass)
    with obskit.continue_trace({"b3": f"{FIRST}-{'b' * 16}-1", "x-request-id": "alice"}):
        assert worker.ask()[0] == FIRST
    found = worker.ask()
    worker.stop()
    assert found[0] != FIRST
    assert found[4] == {}


def prepared_with_requests(url, closing):
    session = closing.enter_context(requests.Session())
    prepared = requests.Request("GET", url, headers={"Mine": "1"}).prepare()
    return prepared, lambda: session.send(prepared, timeout=10)


def built_with_httpx(url, closing):
    client = closing.enter_context(httpx.Client())
    request = client.build_request("GET", url, headers={"Mine": "1"})
    return request, lambda: client.send(request)


def built_with_httpx_async(url, closing):
    request = httpx.Request("GET", url, headers={"Mine": "1"})

    async def send():
        async with httpx.AsyncClient() as client:
            return await client.send(request)

    return request, lambda: asyncio.run(send())


def headers_with_urllib3(url, closing):
    pool, request = urllib3.PoolManager(), types.SimpleNamespace(headers={"Mine": "1"})
    return request, lambda: types.SimpleNamespace(
        request=request, answer=pool.request("GET", url, headers=request.headers)
    )


def request_with_urllib(url, closing):
    request = urllib.request.Request(url, headers={"Mine": "1"})

    def send():
        with urllib.request.urlopen(request, timeout=10) as response:
            return types.SimpleNamespace(request=request, answer=response.read())

    return request, send


KEPT = [prepared_with_requests, built_with_httpx, built_with_httpx_async, headers_with_urllib3, request_with_urllib]


@pytest.fixture
def clients():
    patches, hooks = Patches(), ImportHooks()
    install(["requests", "httpx", "urllib3", "http_client"], hooks, patches)
    yield
    hooks.remove()
    patches.remove()


@pytest.mark.parametrize("make", KEPT)
def test_a_request_that_a_program_keeps_is_sent_with_the_headers_of_each_moment(spans, clients, make):
    upstream = Upstream()
    propagator.use(["b3multi", "b3"])
    with http_server(upstream_handler(upstream)) as url, ExitStack() as closing:
        request, send = make(url + "/a", closing)
        before = dict(request.headers)
        found = []
        for name in ("alice", "bob"):
            serve(lambda: found.append(send()), HTTP_X_REQUEST_ID=name)
        found.append(send())
    assert all(response.request is request for response in found)
    assert dict(request.headers) == before
    assert [headers.get("x-request-id") for _, headers in upstream.received] == ["alice", "bob", None]
    assert len({headers["x-b3-traceid"] for _, headers in upstream.received}) == 3
    assert [headers["mine"] for _, headers in upstream.received] == ["1"] * 3


@pytest.mark.parametrize("make", KEPT[:3])
def test_an_exception_names_the_programs_own_request(spans, clients, make):
    with socket.socket() as closed, ExitStack() as closing:
        closed.bind(("127.0.0.1", 0))
        request, send = make(f"http://127.0.0.1:{closed.getsockname()[1]}/a", closing)
        with pytest.raises((httpx.ConnectError, requests.ConnectionError)) as caught:
            send()
    assert caught.value.request is request
