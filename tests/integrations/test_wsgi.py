"""Any WSGI application behind ``obskit.integrations.wsgi.ObskitMiddleware``."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from http import HTTPStatus
from http.client import HTTPConnection
from time import time_ns
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
import waitress
from gunicorn.http.wsgi import FileWrapper as GunicornFileWrapper
from opentelemetry.trace import SpanKind

import obskit
from obskit.instrumentation import open_responses, server_exchange
from obskit.instrumentation.open_responses import abandon_streams
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.server_exchange import EXCHANGE, FORGOTTEN, on_finish
from obskit.instrumentation.tracer import propagator, tracer
from obskit.instrumentation.wsgi import wrapper
from obskit.integrations.wsgi import ObskitMiddleware
from obskit.testing import HttpServerContract, recording
from obskit.testing.contract import SPAN_ID, TRACE_ID, ids
from obskit.testing.http_server_contract import Site
from obskit.testing.servers import wsgi_server
from obskit.tracing.current import current_span
from obskit.tracing.propagated import NOOP_SPAN
from tests.export.receiver import receiver, run
from tests.integrations.http_servers import Switched

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def application(site: Site) -> Application:
    """Return a WSGI application that serves ``site``."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/stream":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return site.stream()
        text, status = site.item(path.removeprefix("/items/")) if path.startswith("/items/") else ("", 404)
        start_response(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "text/plain")])
        return [text.encode()]

    return app


class OneThreadServer(WSGIServer):
    request_queue_size = 128  # all clients of a test at once


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def one_thread(app: Application) -> Iterator[str]:
    """Serve every request on the same thread."""
    with make_server("127.0.0.1", 0, app, OneThreadServer, QuietHandler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join(10)


@contextmanager
def on_waitress(app: Application) -> Iterator[str]:
    """Serve with a pool of threads, on connections that stay open.

    An option that is to be removed has chunks sent as they come, not from 18000 bytes on.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        running = waitress.create_server(app, port=0, host="127.0.0.1", send_bytes=1, outbuf_high_watermark=2**17)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.effective_port}"
    finally:
        with suppress(OSError):  # woken by something else, the thread has closed already
            running.trigger.pull_trigger(running.close)  # on its own thread, which then has nothing to serve
        thread.join(10)
        running.task_dispatcher.shutdown()


class TestWsgi(Switched, HttpServerContract):
    """The middleware, on a server with a thread for each request."""

    integration = "wsgi"
    route = None
    unsupported: ClassVar = {"test_import_order_does_not_matter": "nothing is patched"}

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve on wsgiref, in a way that can be switched off."""
        return wsgi_server(self.application(site))

    def application(self, site: Site) -> Application:
        bare = application(site)
        traced = ObskitMiddleware(bare)

        def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            return (traced if self.traced else bare)(environ, start_response)

        return app


class TestWsgiOnWaitress(TestWsgi):
    """Where many requests share a connection, pipelined or not."""

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return on_waitress(self.application(site))


class TestWsgiOnOneThread(TestWsgi):
    """All requests on one thread, so that whatever one leaves behind the next one finds."""

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return one_thread(self.application(site))


class Call:
    """One request to an application, without a server."""

    def __init__(self, app: Application, **extra: Any) -> None:
        self.started: list[tuple[Any, ...]] = []
        environ: Environ = {"SCRIPT_NAME": "", "PATH_INFO": "/items/a", "REMOTE_ADDR": "192.0.2.1", **extra}
        setup_testing_defaults(environ)
        self.environ = environ
        self.body = app(environ, lambda *args, **_: self.started.append(args))


def hello(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def test_a_list_is_returned_as_it_is() -> None:
    """Servers take Content-Length from the length of a list."""
    body = [b"hello"]

    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return body

    with recording() as recorder:
        assert Call(ObskitMiddleware(app)).body is body
        recorder.take()


@pytest.mark.parametrize("wrapper", [FileWrapper, GunicornFileWrapper])
def test_a_servers_file_wrapper_is_returned_as_it_is(wrapper: type, tmp_path: Any) -> None:
    """Servers use sendfile for their own type only; its close ends the span and closes the file."""
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    file = path.open("rb")

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file, 4096)

    with recording() as recorder:
        body: Any = Call(ObskitMiddleware(app), **{"wsgi.file_wrapper": wrapper}).body
        assert type(body) is wrapper
        recorder.assert_empty()
        body.close()
        recorder.take()
    assert file.closed


def test_a_file_wrapper_that_is_a_function_keeps_what_it_returns() -> None:
    """uWSGI's remembers the file, and recognises the empty tuple it returned."""
    token = ()

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](None)

    with recording() as recorder:
        assert Call(ObskitMiddleware(app), **{"wsgi.file_wrapper": lambda _file: token}).body is token
        recorder.take()


def test_a_body_that_nobody_iterates_is_over_when_it_is_closed() -> None:
    """As for a HEAD request; the application's close is called, within the span, and what it raises is raised."""

    class Closing:
        span: Any = None

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            self.span = current_span()
            raise KeyError("close")

    inner = Closing()

    def app(_environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return inner

    with recording() as recorder:
        body: Any = Call(ObskitMiddleware(app)).body
        with pytest.raises(KeyError, match="close"):
            body.close()
        span = recorder.take(error="KeyError: 'close'")
    assert span is inner.span
    assert span.tags["http.status_code"] == "500"


def test_an_exception_is_the_applications_own() -> None:
    error = ValueError("mine")

    def app(_environ: Environ, _start: StartResponse) -> list[bytes]:
        raise error

    with recording() as recorder:
        with pytest.raises(ValueError, match="mine") as caught:
            Call(ObskitMiddleware(app))
        assert caught.value is error
        recorder.take(error="ValueError: mine")


def test_the_callers_span_comes_before_the_current_one() -> None:
    """A server that is itself traced makes a span around ours: the parent where the request names none, or the same."""
    headers = {"HTTP_B3": f"{TRACE_ID}-{SPAN_ID}-1"}
    with recording() as recorder:
        with tracer.start_as_current_span("server", kind=SpanKind.SERVER) as outer:
            Call(ObskitMiddleware(hello), **headers)
            assert ids(recorder.take())[::2] == (TRACE_ID, SPAN_ID)
            Call(ObskitMiddleware(hello))
            assert recorder.take().parent_id == outer.span_id
        recorder.take()
        context = propagator.extract({"b3": headers["HTTP_B3"]})
        with tracer.start_as_current_span("server", context, kind=SpanKind.SERVER) as outer:
            Call(ObskitMiddleware(hello), **headers)
            assert recorder.take().parent_id == outer.span_id
        recorder.take()


def test_a_request_is_no_child_of_what_its_server_was_started_in() -> None:
    with recording() as recorder:
        with tracer.start_as_current_span("main"):
            Call(ObskitMiddleware(hello))
            assert recorder.take().parent_id is None
        recorder.take()


def test_an_application_inside_another_is_part_of_its_request() -> None:
    """Its environ may be a new one, as where WSGI is mounted in ASGI; sampled or not, it is the same request."""
    seen = []

    def inner(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        seen.append(current_span())
        return hello(environ, start_response)

    def outer(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        seen.append(current_span())
        again = {key: value for key, value in environ.items() if not key.startswith("obskit")}
        return ObskitMiddleware(inner)(again, start_response)

    with recording() as recorder:
        for headers in ({}, {"HTTP_B3": f"{TRACE_ID}-{SPAN_ID}-1"}):
            Call(ObskitMiddleware(outer), **headers)
            assert seen[-1] is seen[-2] is recorder.take()
    with recording(sample_rate=0.0):
        Call(ObskitMiddleware(outer))
        assert seen[-1].trace_id == seen[-2].trace_id


@pytest.mark.parametrize(
    "changed", [{"PATH_INFO": "/other"}, {"REQUEST_METHOD": "PUT"}, {"HTTP_B3": f"{TRACE_ID}-{'1' * 16}-1"}]
)
def test_a_request_that_a_handler_makes_of_an_application_has_a_span_of_its_own(changed: dict[str, str]) -> None:
    """It has another path, method or trace context than the one that the handler serves."""

    def outer(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        again = {key: value for key, value in environ.items() if not key.startswith("obskit")}
        return ObskitMiddleware(hello)(again | changed, start_response)

    with recording() as recorder:
        Call(ObskitMiddleware(outer), HTTP_B3=f"{TRACE_ID}-{SPAN_ID}-1")
        assert len({recorder.take().span_id, recorder.take().span_id}) == 2


def test_an_exception_in_mid_body_is_the_applications_own() -> None:
    """The same object comes out, the status sent before stays, and nothing is current afterwards."""
    error = OSError("disk")

    def app(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        raise error

    with recording() as recorder:
        body = iter(Call(ObskitMiddleware(app)).body)
        next(body)
        with pytest.raises(OSError, match="disk") as caught:
            next(body)
        assert caught.value is error
        assert current_span() is NOOP_SPAN
        assert recorder.take(error="OSError: disk").tags["http.status_code"] == "200"


def test_a_generator_that_fails_before_its_response_starts_is_a_500() -> None:
    """The server answers that where nothing was sent."""

    def app(_environ: Environ, _start: StartResponse) -> Iterator[bytes]:
        yield from ()
        raise ValueError("early")

    with recording() as recorder:
        with pytest.raises(ValueError, match="early"):
            list(Call(ObskitMiddleware(app)).body)
        assert recorder.take(error="ValueError: early").tags["http.status_code"] == "500"


@pytest.mark.parametrize("named", [False, True])
def test_the_exception_of_an_error_page_is_the_one_given_to_start_response(named: bool) -> None:
    """By position, as PEP 3333 says, or by name, as many do; both reach the server unchanged."""

    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        try:
            raise ValueError("caught")
        except ValueError:
            details = {"exc_info": sys.exc_info()}
            start_response("500 Oops", [], **details) if named else start_response("500 Oops", [], *details.values())
        return [b"sorry"]

    with recording() as recorder:
        call = Call(ObskitMiddleware(app))
        recorder.take(error="ValueError: caught")
    assert len(call.started[0]) == (2 if named else 3)


def test_the_write_callable_is_the_servers() -> None:
    written: list[bytes] = []

    def app(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])(b"old style")
        return []

    def start_response(*_: Any) -> Callable[[bytes], None]:
        return written.append

    environ: Environ = {}
    setup_testing_defaults(environ)
    with recording() as recorder:
        ObskitMiddleware(app)(environ, start_response)
        recorder.take()
    assert written == [b"old style"]


@pytest.mark.parametrize("path", ["/items/a", "/stream"])
def test_both_sides_are_as_pep_3333_says(path: str) -> None:
    """The standard library's validator, above and below."""
    site = Site()
    site.go_on.set()
    app = validator(ObskitMiddleware(validator(application(site))))
    with recording() as recorder:
        body: Any = Call(app, PATH_INFO=path, QUERY_STRING="").body
        assert b"".join(body)
        body.close()
        recorder.take()


def test_two_layers_make_one_span() -> None:
    with recording() as recorder:
        Call(ObskitMiddleware(ObskitMiddleware(hello)))
        recorder.take()


def test_a_path_is_the_whole_one_and_the_callers_port_is_known() -> None:
    """SCRIPT_NAME belongs to the path; bytes that are not UTF-8 stay as the server showed them."""
    with recording() as recorder:
        Call(ObskitMiddleware(hello), SCRIPT_NAME="/app", PATH_INFO="/\xff", REMOTE_PORT="4711")
        span = recorder.take()
    assert span.tags["http.path"] == "/app/\xff"
    assert span.remote_endpoint == ("192.0.2.1", 4711)


def test_an_environ_we_cannot_read_is_served_untraced() -> None:
    with recording():
        call = Call(ObskitMiddleware(hello), PATH_INFO=7)
        assert (call.body, EXCHANGE in call.environ) == ([b"hello"], False)


def chunks(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"a"
    yield b"b"


def annotations(span: Any) -> list[str]:
    return [event.name for event in span.events]


@pytest.mark.parametrize("begun", [False, True])
def test_a_body_that_is_forgotten_ends_its_span_once(begun: bool) -> None:
    """Without a garbage collection, and without a line in the log of requests: it may run amid a handler's lock."""
    logged: list[Any] = []
    on_finish(logged.append)
    try:
        with recording() as recorder:
            environ = Call(hello).environ
            body: Any = ObskitMiddleware(chunks)(environ, lambda *_: None)
            if begun:
                next(body)
            recorder.assert_empty()
            del body
            assert annotations(recorder.take()) == [FORGOTTEN]
            assert logged == []
    finally:
        on_finish(None)


def test_an_error_page_that_is_forgotten_ends_its_span() -> None:
    """The exception it answers does not keep it, though the traceback's frames hold all of the request."""

    def app(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            raise ValueError("bad")
        except ValueError:
            start_response("500 Internal Server Error", [], sys.exc_info())
            return iter([b"sorry"])

    with recording() as recorder:
        call = Call(ObskitMiddleware(app))
        recorder.assert_empty()
        del call
        gc.collect()
        assert annotations(recorder.take(error="ValueError: bad")) == [FORGOTTEN]
        assert open_responses.under_way == set()


def test_a_body_that_was_closed_is_not_forgotten() -> None:
    with recording() as recorder:
        body: Any = Call(ObskitMiddleware(chunks)).body
        body.close()
        del body
        assert annotations(recorder.take()) == []


def test_a_file_that_is_forgotten_ends_its_span(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello")

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file)

    with recording() as recorder, path.open("rb") as file:
        Call(ObskitMiddleware(app), **{"wsgi.file_wrapper": FileWrapper})
        gc.collect()
        assert annotations(recorder.take()) == [FORGOTTEN]


def test_responses_that_are_open_at_the_end_of_the_process_end_with_it() -> None:
    with recording() as recorder:
        kept: Any = Call(ObskitMiddleware(chunks)).body
        over: Any = Call(ObskitMiddleware(chunks)).body
        assert list(over) == [b"a", b"b"]
        recorder.take()
        abandon_streams()
        abandon_streams()
        assert annotations(recorder.take()) == ["the process ended amid the response"]
        assert list(kept) == [b"a", b"b"]


def test_the_span_of_a_response_that_is_open_at_the_programs_end_is_delivered() -> None:
    code = """
import obskit
from obskit.integrations.wsgi import ObskitMiddleware
obskit.init(service="x", integrations=[])
body = ObskitMiddleware(lambda *_: iter([b"x"]))({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, None)
"""
    with receiver() as server:
        done = run(code, OBSKIT_EXPORTER=server.url)
        assert (done.returncode, done.stderr, server.names) == (0, "", ["get"])


def test_a_response_that_nobody_ends_is_given_up_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a later response begins, and not before."""
    with recording() as recorder:
        old: Any = Call(ObskitMiddleware(chunks)).body
        for hours, ended in [(0.9, False), (1.1, True)]:
            monkeypatch.setattr(open_responses, "time_ns", lambda: time_ns() + int(hours * 3600 * 10**9))  # noqa: B023
            monkeypatch.setattr(open_responses, "_look_at", 0)
            recorder.assert_empty()
            body: Any = Call(ObskitMiddleware(chunks)).body
            if ended:
                assert annotations(recorder.take()) == ["the response was still open after an hour"]
            monkeypatch.undo()
            body.close()
            recorder.take()
        old.close()


def test_nobody_looks_for_old_responses_more_than_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(open_responses, "time_ns", lambda: looks.append(1) or time_ns())
    monkeypatch.setattr(open_responses, "_look_at", 0)
    with recording() as recorder:
        for _ in range(3):
            list(Call(ObskitMiddleware(chunks)).body)
            recorder.take()
    assert looks == [1]


def test_a_body_is_remembered_no_longer_than_it_lasts() -> None:
    with recording() as recorder, recording(sample_rate=0):
        Call(ObskitMiddleware(chunks)).body.close()  # type: ignore[attr-defined]
        kept = Call(ObskitMiddleware(chunks))  # not recorded: there is nothing to lose
        assert open_responses.under_way == set()
        del kept
        recorder.assert_empty()


class Sized:
    """A body that is no list."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


class ListOfBytes(list[bytes]):
    pass


class TupleOfBytes(tuple[bytes, ...]):
    __slots__ = ()


def of(body: Any) -> Application:
    """Return an application whose response has this body."""

    def app(_environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body()

    return app


BODIES = {
    "deque": lambda: deque([b"hello"]),
    "sized": lambda: Sized(b"hello"),
    "two chunks": lambda: Sized(b"hel", b"lo"),
    "list of its own class": lambda: ListOfBytes([b"hello"]),
    "tuple of its own class": lambda: TupleOfBytes([b"hello"]),
    "iterator": lambda: iter([b"hello"]),
    "empty": list,
}


@pytest.mark.parametrize("serving", [wsgi_server, on_waitress])
@pytest.mark.parametrize("body", BODIES)
def test_a_response_has_the_length_that_its_body_says(serving: Any, body: str) -> None:
    """Servers take Content-Length from the length of a body with one chunk."""

    def answer(app: Application) -> Any:
        with serving(app) as url:
            connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
            connection.request("GET", "/")
            response = connection.getresponse()
            found = response.getheader("Content-Length"), response.getheader("Transfer-Encoding"), response.read()
            connection.close()
            return found

    with recording() as recorder:
        bare = answer(of(BODIES[body]))
        assert answer(ObskitMiddleware(of(BODIES[body]))) == bare
        recorder.take()


@pytest.mark.parametrize("body", [ListOfBytes([b"x"]), TupleOfBytes([b"x"]), deque([b"x"]), b"x", "x", {b"x": 1}])
def test_a_body_that_is_complete_stays_the_same_object(body: Any) -> None:
    """uWSGI sends text and bytes by a way of its own."""
    with recording() as recorder:
        assert Call(ObskitMiddleware(of(lambda: body))).body is body
        recorder.take()


def test_a_file_stays_what_it_is_where_the_file_wrapper_is_a_function(tmp_path: Any) -> None:
    """uWSGI's gives the file itself, and looks for it when the application has returned."""
    (tmp_path / "file").write_bytes(b"hello")
    file = (tmp_path / "file").open("rb")
    with recording() as recorder:
        call = Call(ObskitMiddleware(of(lambda: file)), **{"wsgi.file_wrapper": lambda *_: file})
        assert call.body is file
        recorder.assert_empty()
        file.close()
        recorder.take()
        assert file.closed


def raising(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise ValueError("no luck")


def calling(how: str) -> Application:
    """Return an application that fails, in one way or another, having said 202."""

    def app(_environ: Environ, start_response: StartResponse) -> Any:
        write = start_response("202 Accepted", [])
        if how == "written":
            write(b"x")
        if how in ("written", "returned nothing"):
            raise ValueError("no luck")
        if how == "second start":
            return second_start(start_response)
        return raising(*([b"x"] if how == "second chunk" else []))

    return app


def second_start(start_response: StartResponse) -> Iterator[bytes]:
    yield b"x"
    try:
        raise ValueError("no luck")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())  # which raises, as the status is sent
    yield b"sorry"


@pytest.mark.parametrize("how", ["first chunk", "second chunk", "written", "returned nothing", "second start"])
def test_a_failed_response_has_the_status_that_the_client_got(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Servers send it with the first chunk, and 500 where there is none."""
    with recording() as recorder, wsgi_server(ObskitMiddleware(calling(how))) as url:
        connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        assert status == (500 if how in ("first chunk", "returned nothing") else 202)
        assert recorder.take(error="ValueError: no luck").tags["http.status_code"] == str(status)
    capfd.readouterr()


class Empty(Exception):
    """Is falsy."""

    def __len__(self) -> int:
        return 0


def test_an_exception_that_is_falsy_is_told() -> None:
    def app(_environ: Environ, _start: StartResponse) -> list[bytes]:
        raise Empty("no rows")

    with recording() as recorder:
        with pytest.raises(Empty):
            Call(ObskitMiddleware(app))
        recorder.take(error="no rows")


def test_an_environ_can_be_copied_pickled_and_dumped() -> None:
    copies: list[Any] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        brought = {key: value for key, value in environ.items() if not key.startswith("wsgi.")}
        copies.extend([copy.deepcopy(brought), pickle.loads(pickle.dumps(brought)), json.loads(json.dumps(brought))])
        return hello(environ, start_response)

    with recording() as recorder:
        Call(ObskitMiddleware(app))
        recorder.take()
    assert copies[0] == copies[1] == copies[2]


def test_a_copy_of_an_environ_is_of_the_same_request_while_that_is_served() -> None:
    """A worker that gets it later serves another one."""
    kept: list[Environ] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        kept.append(copy.deepcopy({key: value for key, value in environ.items() if not key.startswith("wsgi.")}))
        return ObskitMiddleware(hello)({**environ}, start_response)

    with recording() as recorder:
        Call(ObskitMiddleware(app))
        recorder.take()
        ObskitMiddleware(hello)(kept[0], lambda *_: None)
        recorder.take()
    assert server_exchange._serving.keys().isdisjoint(environ[EXCHANGE] for environ in kept)


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c", None])
@pytest.mark.parametrize("how", ["StopIteration", "empty"])
def test_a_connection_that_became_a_websocket_is_no_failure(upgrade: str | None, how: str) -> None:
    """gunicorn is told by StopIteration that the application has served it; others take an empty response."""

    def app(_environ: Environ, _start: StartResponse) -> list[bytes]:
        if how == "StopIteration":
            raise StopIteration
        return []

    is_socket = upgrade in ("websocket", "WebSocket")
    with recording() as recorder:
        with pytest.raises(StopIteration) if how == "StopIteration" else nullcontext():
            Call(ObskitMiddleware(app), **({"HTTP_UPGRADE": upgrade} if upgrade else {}))
        failed = how == "StopIteration" and not is_socket
        span = recorder.take(error="StopIteration" if failed else None)
    assert span.tags.get("http.status_code") == ("101" if is_socket else "500" if failed else None)


def test_the_arguments_may_be_named() -> None:
    class App:
        def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
            return hello(environ, start_response)

    patches = Patches()
    patches.wrap(App, "__call__", wrapper(lambda _environ: "/"))
    environ = Call(hello).environ
    with recording() as recorder:
        assert App()(start_response=lambda *_: None, environ=environ) == [b"hello"]
        assert recorder.take().name == "GET /"
        with pytest.raises(TypeError, match="start_response"):
            App()(environ)  # type: ignore[call-arg]
    patches.remove()


@pytest.mark.parametrize("ended", ["read", "closed", "dropped"])
def test_a_span_in_the_generator_of_a_body_is_current_in_all_of_its_steps(ended: str) -> None:
    """And not outside: the server's thread goes on to other requests."""
    seen: list[object] = []

    def app(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        with obskit.span("rows") as span:
            for _ in range(3):
                seen.append(current_span() is span)
                yield b"x"
                seen.append(current_span() is span)

    with recording() as recorder:
        body: Any = Call(ObskitMiddleware(app)).body
        for _ in range(2):
            next(body)
            assert current_span() is NOOP_SPAN
        if ended == "read":
            list(body)
        elif ended == "closed":
            body.close()
        del body
        gc.collect()
        assert current_span() is NOOP_SPAN
        names = {recorder.take().name, recorder.take().name}
    assert names == {"rows", "GET"}
    assert all(seen)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_the_arguments_of_start_response_have_the_names_that_the_server_gives_them(layers: int, status: str) -> None:
    def app(_environ: Environ, start_response: Any) -> list[bytes]:
        start_response(status=status, headers=[("X-Own", "1")])
        return [b"named"]

    traced: Any = app
    for _ in range(layers):
        traced = ObskitMiddleware(traced)
    started: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        started.append((status, headers, exc_info))

    with recording() as recorder:
        body = traced(Call(hello).environ, start_response)
        assert b"".join(body) == b"named"
        getattr(body, "close", lambda: None)()
        recorder.take(error=None if status == "200 OK" else "500")
    assert started == [(status, [("X-Own", "1")], None)]
