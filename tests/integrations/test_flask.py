"""Flask, by patching and by ``instrument(app)``."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    copy_current_request_context,
    got_request_exception,
    request,
    send_file,
    stream_with_context,
)  # fmt: skip
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import create_environ
from werkzeug.wsgi import ClosingIterator

import obskit
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.integrations import install
from obskit.integrations.flask import instrument
from obskit.testing import HttpServerContract, recording
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import wsgi_server
from tests.integrations.http_servers import Switched


def application(site: Site) -> Flask:
    """Return a Flask application that serves ``site``, and what is Flask's own."""
    app = Flask("contract")
    shop = Blueprint("shop", "shop", url_prefix="/shop/<int:shop_id>")
    shop.add_url_rule("/items/<name>", "item", lambda shop_id, name: site.item(name))
    app.register_blueprint(shop)
    app.add_url_rule("/items/<name>", "item", site.item, methods=["GET", "BREW"])
    app.add_url_rule("/stream", "stream", lambda: Response(stream_with_context(site.stream())))
    app.add_url_rule("/abort/<int:status>", "abort", lambda status: abort(code=status))
    app.add_url_rule("/file", "file", lambda: send_file(__file__))
    app.add_url_rule("/slash/", "slash", lambda: "slash")
    return app


class TestFlask(HttpServerContract):
    """Patched."""

    integration = "flask"
    route = "/items/<name>"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve on wsgiref."""
        return wsgi_server(self.prepared(application(site)))

    def prepared(self, app: Flask) -> Callable[[Any, Any], Iterable[bytes]]:
        """Return what a server is given."""
        return app

    @pytest.mark.parametrize(
        ("path", "name", "error"),
        [
            ("/shop/7/items/same", "GET /shop/<int:shop_id>/items/<name>", None),
            ("/abort/404", "GET /abort/<int:status>", "404"),
            ("/abort/500", "GET /abort/<int:status>", "500"),
            ("/file", "GET /file", None),
            ("/slash", "GET redirected", None),
        ],
    )
    def test_route_is_the_rule_that_matched(self, path: str, name: str, error: str | None) -> None:
        """Of a blueprint with its prefix; and the response is unchanged."""
        with self.site():
            traced = self.answer("GET", path)
            assert self.recorder.take(SERVER, error=error).name == name
            self.uninstall()
            assert self.answer("GET", path) == traced

    def test_mounted_application_makes_one_span(self) -> None:
        """Its route is its own; the path says where it is mounted."""
        with self.site() as site:
            mounted = DispatcherMiddleware(self.prepared(application(site)), {"/v2": self.prepared(application(site))})
            with wsgi_server(mounted) as url:
                self._netloc = url.removeprefix("http://")
                self.get("/v2/items/apple")
                span = self.recorder.take(SERVER)
        assert (span.tags["http.path"], span.tags["http.route"]) == ("/v2/items/apple", "/items/<name>")

    @pytest.mark.parametrize(("status", "error"), [(409, "409"), (503, "503")])
    def test_exception_that_a_handler_answers_is_not_an_error_of_its_own(self, status: int, error: str) -> None:
        """The handler has dealt with it; what it answers counts."""
        with self.site() as site:
            app = application(site)
            app.register_error_handler(ValueError, lambda _error: ("handled", status))
            with wsgi_server(self.prepared(app)) as url:
                self._netloc = url.removeprefix("http://")
                assert self.get("/items/raise") == (status, "handled")
                self.recorder.take(SERVER, error=error)

    def test_exception_behind_a_handler_of_500_is_told(self) -> None:
        with self.site() as site:
            app = application(site)
            app.register_error_handler(500, lambda _error: ("sorry", 500))
            with wsgi_server(self.prepared(app)) as url:
                self._netloc = url.removeprefix("http://")
                assert self.get("/items/raise") == (500, "sorry")
                self.recorder.take(SERVER, error="ValueError: no such luck")

    def test_exception_that_flask_lets_through_has_its_route(self) -> None:
        """As a debugging server does, or the test client."""
        app = application(Site())
        app.testing = True
        self.prepared(app)
        with pytest.raises(ValueError, match="no such luck"):
            app.test_client().get("/items/raise")
        span = self.recorder.take(SERVER, error="ValueError: no such luck")
        assert (span.name, span.tags["http.status_code"]) == ("GET /items/<name>", "500")

    @pytest.mark.parametrize(
        ("path", "error"), [("/items/same", None), ("/abort/500", "500"), ("/items/raise", "ValueError: no such luck")]
    )
    def test_response_that_a_test_drops_ends_its_span(
        self, path: str, error: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The test client closes a response only where it is told to."""
        app = application(Site())
        self.prepared(app)
        caplog.set_level(logging.CRITICAL, app.logger.name)  # pytest keeps records, and with them their exceptions
        app.test_client().get(path)
        gc.collect()
        span = self.recorder.take(SERVER, error=error, timeout=0)
        assert span.tags["http.status_code"] == ("500" if error else "200")

    @pytest.mark.parametrize("works_on", [False, True])
    def test_complete_response_is_over_at_once_unless_the_application_works_on_when_it_closes(
        self, works_on: bool
    ) -> None:
        """And is not wrapped: this fails where Werkzeug no longer keeps a response as the integration looks for it."""
        app = application(Site())
        within: list[Any] = []
        if works_on:
            app.after_request(lambda response: _closing(response, lambda: within.append(obskit.current_span())))
        body: Any = self.prepared(app)(create_environ("/items/same"), lambda *_: lambda _: None)
        assert type(body) is ClosingIterator
        if not works_on:
            self.recorder.take(SERVER, timeout=0)
        self.recorder.assert_empty()
        body.close()
        if works_on:
            assert within == [self.recorder.take(SERVER, timeout=0)]


def _closing(response: Response, call: Callable[[], object]) -> Response:
    response.call_on_close(call)
    return response


class TestInstrumentedFlask(Switched, TestFlask):
    """By ``instrument(app)``, without patching."""

    def prepared(self, app: Flask) -> Callable[[Any, Any], Iterable[bytes]]:
        bare = app.wsgi_app
        traced = instrument(app).wsgi_app
        assert instrument(app).wsgi_app is traced, "twice is once"

        def served(environ: Any, start_response: Any) -> Iterable[bytes]:
            return (app if self.traced else bare)(environ, start_response)

        return served


class TestFlaskPatchedAndInstrumented(TestInstrumentedFlask):
    """Both at once: still one span."""

    def install(self) -> None:
        TestFlask.install(self)
        self.traced = True

    def uninstall(self) -> None:
        TestFlask.uninstall(self)
        self.traced = False


def test_removing_the_patches_leaves_instrumented_applications_their_signal() -> None:
    """Blinker's ``disconnect`` without a sender takes a receiver from all of them."""
    patches, hooks = Patches(), ImportHooks()
    app = instrument(application(Site()))
    install(["flask"], hooks, patches)
    assert len(list(got_request_exception.receivers_for(app))) == 2
    hooks.remove()
    patches.remove()
    assert len(list(got_request_exception.receivers_for(app))) == 1
    assert not list(got_request_exception.receivers_for(object()))


def client_of(app: Flask) -> Any:
    """Return a test client of an application that is traced without patches."""
    return instrument(app).test_client()


@pytest.mark.parametrize("how", ["copied", "new", "none"])
def test_a_second_request_context_leaves_the_route(how: str) -> None:
    """Flask takes the request out of the environ when any context of it ends."""
    app = Flask("app")

    def second() -> None:
        if how == "copied":
            thread = threading.Thread(target=copy_current_request_context(lambda: request.path))
            thread.start()
            thread.join(10)
        elif how == "new":
            with app.request_context(request.environ):
                pass

    @app.get("/orders/<int:number>")
    def order(number: int) -> str:
        second()
        return str(number)

    with recording() as recorder:
        assert client_of(app).get("/orders/7").get_data(as_text=True) == "7"
        span = recorder.take()
    assert (span.name, span.tags["http.route"]) == ("GET /orders/<int:number>", "/orders/<int:number>")


def test_a_teardown_function_that_raises_makes_it_a_500() -> None:
    """The server has not sent the view's 200 yet."""
    app = Flask("app")
    app.teardown_request(lambda _error: 1 // 0)  # type: ignore[arg-type, return-value]
    app.get("/")(lambda: "fine")
    with recording() as recorder:
        with pytest.raises(ZeroDivisionError):
            client_of(app).get("/")
        span = recorder.take(error="ZeroDivisionError")
    assert (span.name, span.tags["http.status_code"]) == ("GET /", "500")
