"""Any ASGI application behind ``obskit.integrations.asgi.ObskitMiddleware``."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import json
import pickle
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import pytest

from obskit.base.failures import failures
from obskit.instrumentation import asgi
from obskit.instrumentation.asgi import AsyncBody, wanted_headers, wrapper
from obskit.instrumentation.current_exchange import current_exchange
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import FORGOTTEN
from obskit.integrations.asgi import ObskitMiddleware
from obskit.propagation.headers import LOWER
from obskit.testing import HttpServerContract, recording
from obskit.testing.http_server_contract import Site
from obskit.testing.servers import asgi_server
from obskit.tracing.current import current_span
from obskit.tracing.propagated import NOOP_SPAN
from tests.integrations.http_servers import Switched

Message = dict[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def start(status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]}


def body(text: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": text, "more_body": more}


def application(site: Site) -> Application:
    """Return an ASGI application that serves ``site``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            await stream(site, receive, send)
            return
        name = scope["path"].removeprefix("/items/")
        text, status = site.item(name) if name != scope["path"] else ("", 404)
        await send(start(status))
        await send(body(text.encode()))

    return app


async def stream(site: Site, receive: Any, send: Any) -> None:
    """Send the site's stream until it is over or the client has left."""
    await receive()
    gone = asyncio.create_task(receive())
    chunks = site.stream_async()
    await send(start())
    async for chunk in chunks:
        await send(body(chunk, more=True))
        await asyncio.sleep(0)
        if gone.done():
            await chunks.aclose()  # type: ignore[attr-defined]
            return
    await send(body(b""))
    gone.cancel()


class TestAsgi(Switched, HttpServerContract):
    """The middleware, on uvicorn."""

    integration = "asgi"
    route = None
    unsupported: ClassVar = {"test_import_order_does_not_matter": "nothing is patched"}

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve on uvicorn, in a way that can be switched off."""
        bare = application(site)
        traced = ObskitMiddleware(bare)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (traced if self.traced else bare)(scope, receive, send)

        return asgi_server(app)


def call(app: Application, **extra: Any) -> list[Message]:
    """Send one request to an application, without a server; return the messages of its response."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None, **extra}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await ObskitMiddleware(app)(scope, receive, send)
        assert current_span() is NOOP_SPAN

    try:
        asyncio.run(run())
    finally:
        assert current_span() is NOOP_SPAN
    return sent


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send(start())
    await send(body(b"hello"))


def test_work_after_the_last_message_is_not_part_of_the_response() -> None:
    """The span has ended, its tags are final, and what the work raises is not the request's error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        span = recorder.take()
        before = dict(span.tags)
        await send(start(503))
        await send(body(b"once more"))
        exchange = current_exchange()
        assert exchange is not None
        exchange.finish(ValueError("late"))
        assert span.tags == before
        assert current_span() is span
        raise ValueError("in the background")

    with recording() as recorder, pytest.raises(ValueError, match="background"):
        call(app)


def test_an_exception_before_the_response_is_a_500() -> None:
    """It leaves the middleware as the same object."""
    error = ValueError("early")

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise error

    with recording() as recorder:
        with pytest.raises(ValueError, match="early") as caught:
            call(app)
        assert caught.value is error
        assert recorder.take(error="ValueError: early").tags["http.status_code"] == "500"


def test_an_exception_after_the_response_began_keeps_its_status() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start(202))
        await send(body(b"x", more=True))
        recorder.assert_empty()
        raise ValueError("late")

    with recording() as recorder:
        with pytest.raises(ValueError, match="late"):
            call(app)
        assert recorder.take(error="ValueError: late").tags["http.status_code"] == "202"


def test_an_application_that_is_cancelled_ends_its_span() -> None:
    """As servers do when they shut down, or a client leaves."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise asyncio.CancelledError

    with recording() as recorder:
        with pytest.raises(asyncio.CancelledError):
            call(app)
        span = recorder.take()
    assert "http.status_code" not in span.tags
    assert span.events[0][1] == "cancelled before the end of the response"


def test_an_application_that_never_answers_ends_its_span() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    with recording() as recorder:
        call(app)
        assert "http.status_code" not in recorder.take().tags


@pytest.mark.parametrize("kind", ["lifespan", "of a later version"])
def test_other_scopes_pass_through_untouched(kind: str) -> None:
    """Scope, receive and send are the server's own objects."""
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.extend(args)

    given: list[Any] = [{"type": kind}, object(), object()]
    before = failures.value
    with recording():
        asyncio.run(ObskitMiddleware(app)(*given))
    assert failures.value == before
    assert all(one is other for one, other in zip(seen, given, strict=True))
    assert given[0] == {"type": kind}


def test_two_layers_make_one_span() -> None:
    with recording() as recorder:
        assert call(ObskitMiddleware(hello)) == [start(), body(b"hello")]
        recorder.take()


def test_a_message_without_a_status_is_the_servers_to_refuse() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start"})

    with recording() as recorder:
        assert call(app) == [{"type": "http.response.start"}]
        recorder.take()


def test_a_scope_we_cannot_read_is_served_untraced() -> None:
    with recording():
        assert call(hello, headers=None) == [start(), body(b"hello")]


def test_an_application_that_is_forgotten_ends_its_span() -> None:
    """A loop that was closed amid a response leaves it behind."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        await asyncio.sleep(3600)

    async def send(_message: Message) -> None:
        pass

    with recording() as recorder:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
        serving = ObskitMiddleware(app)(scope, None, send)  # type: ignore[arg-type]
        loop = asyncio.new_event_loop()
        try:
            with pytest.raises(asyncio.TimeoutError):
                loop.run_until_complete(asyncio.wait_for(asyncio.shield(task := loop.create_task(serving)), 0.01))
            loop.call_soon(task.set_name, "forgotten")
        finally:
            loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it would say so in the log
        recorder.assert_empty()
        del serving, task
        gc.collect()
        span = recorder.take()
    assert span.tags["http.status_code"] == "200"
    assert span.events[0][1] == "cancelled before the end of the response"


def test_the_exception_of_an_error_page_is_told_and_not_kept() -> None:
    """An error page may last: what the traceback's frames hold is free once the application has let go of it."""

    class Bad(Exception):
        pass

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            raise Bad("no luck")
        except Bad as error:
            kept = weakref.ref(error)
            await send(start(500))
        gc.collect()
        assert kept() is None
        await send(body(b"sorry"))

    with recording() as recorder:
        assert call(ObskitMiddleware(app)) == [start(500), body(b"sorry")]
        recorder.take(error="Bad: no luck")


def test_an_asynchronous_body_that_is_forgotten_ends_its_span() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def run() -> None:
        exchange = begin({}, LOWER, "GET", "/", None)
        assert exchange is not None
        body = AsyncBody(parts(), exchange)
        assert await anext(body) == b"a"
        recorder.assert_empty()
        del body
        assert recorder.take().events[0][1] == FORGOTTEN

    with recording() as recorder:
        asyncio.run(run())


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("named", ["", "send", "receive send", "scope receive send"])
def test_the_arguments_may_be_named(named: str, patched: bool) -> None:
    """As asgiref's types name them; daphne names all three."""
    names = named.split()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
    values = {"scope": scope, "receive": None, "send": None}
    seen: list[object] = []

    class App:
        def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
            return self.serve(scope)

        async def serve(self, scope: Any) -> None:
            seen.append((scope, current_span()))

    patches = Patches()
    app: Any = App()
    if patched:
        patches.wrap(App, "__call__", wrapper(route=""))
    else:
        app = ObskitMiddleware(app)
    with recording() as recorder:
        plain = [value for name, value in values.items() if name not in names]
        asyncio.run(_awaited(app(*plain, **{name: values[name] for name in names})))
        assert seen == [(scope, recorder.take())]
    patches.remove()


async def _awaited(coroutine: Any) -> None:
    await coroutine


class DoubleCallable:
    """An application of ASGI 2."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await hello(self.scope, receive, send)


@pytest.mark.parametrize("app", [DoubleCallable, functools.partial(DoubleCallable)])
def test_an_application_of_asgi_2_is_served(app: Any) -> None:
    with recording() as recorder:
        assert call(ObskitMiddleware(app))[1]["body"] == b"hello"
        recorder.take()


class Awaited:
    """An application of ASGI 3 that is a class, as Starlette's endpoints are."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __await__(self) -> Any:
        return hello(*self.arguments).__await__()

    def serve(self, *arguments: Any) -> Any:
        """Return a coroutine, without being a coroutine function."""
        return hello(*arguments)


@pytest.mark.parametrize("app", [Awaited, functools.partial(hello), Awaited(None, None, None).serve])
def test_an_application_need_not_be_a_coroutine_function(app: Any) -> None:
    with recording() as recorder:
        assert call(ObskitMiddleware(app))[1]["body"] == b"hello"
        recorder.take()


def test_a_scope_can_be_copied_pickled_and_dumped() -> None:
    copies: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        copies.extend([copy.deepcopy(scope), pickle.loads(pickle.dumps(scope)), json.loads(json.dumps(scope))])
        await hello(scope, receive, send)

    with recording() as recorder:
        call(ObskitMiddleware(app))
        recorder.take()
    assert copies[0] == copies[1] == copies[2]


def test_headers_are_known_however_they_are_spelled() -> None:
    """Servers that are not ASGI's leave names as they came; whatever callers send, few of them are remembered."""
    for name in (b"x-b3-traceid", b"X-B3-TraceId", b"X-B3-TRACEID"):
        assert wanted_headers([(b"Accept", b"a"), (name, b"b"), (name, b"c")]) == {"x-b3-traceid": "b,c"}
    for number in range(3000):
        assert wanted_headers([(f"X-{number}".encode(), b"a"), (b"X" * 100_000, b"b")]) == {}
    assert len(asgi._wanted) <= 512


def test_what_an_application_returns_reaches_whoever_called_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> int:
        await hello(scope, receive, send)
        return 5

    async def use() -> Any:
        async def send(_message: Message) -> None:
            return

        return await ObskitMiddleware(app)({"type": "http", "headers": [], "path": "/"}, None, send)  # type: ignore[arg-type]

    with recording() as recorder:
        assert asyncio.run(use()) == 5
        recorder.take()
