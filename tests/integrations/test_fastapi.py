"""FastAPI, by the integration of Starlette, on which it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from opentelemetry import trace

from obskit.instrumentation.tracer import propagator, provider
from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server
from tests.export.receiver import run


@pytest.fixture(scope="module", autouse=True)
def _no_global_tracer() -> Iterator[None]:
    """OpenTelemetry lets a program set its tracer provider once, and these tests need it both ways."""
    saved = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = None
    yield
    trace._TRACER_PROVIDER = saved


def refuse(code: int = 403) -> None:
    raise HTTPException(code, "refused")


def application(site: Site, **options: Any) -> FastAPI:
    """Return a FastAPI application that serves ``site``, and what is FastAPI's own."""
    app = FastAPI(**options)
    items, api, sub = APIRouter(prefix="/items"), APIRouter(prefix="/api"), FastAPI()

    @items.api_route("/{name}", methods=["GET", "BREW"], include_in_schema=False)
    def item(name: str) -> Response:
        return PlainTextResponse(*site.item(name))

    @items.get("/{name}/async")
    async def item_async(name: str) -> Response:
        return PlainTextResponse(*site.item(name))

    @app.get("/stream")
    async def stream() -> Response:
        return StreamingResponse(site.stream_async(), media_type="text/plain")

    @app.get("/refused", dependencies=[Depends(refuse)])
    def refused() -> None: ...

    @app.get("/number/{number}")
    def number(number: int) -> int:
        return number

    sub.include_router(items)
    api.include_router(items)
    app.include_router(items)
    app.include_router(api)
    app.mount("/sub", sub)
    return app


class TestFastAPI(HttpServerContract):
    """Patched."""

    integration = "starlette"
    route = "/items/{name}"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve on uvicorn."""
        return asgi_server(application(site))

    @pytest.mark.parametrize(
        ("path", "name", "error"),
        [
            ("/api/items/apple", "GET /api/items/{name}", None),
            ("/api/items/apple/async", "GET /api/items/{name}/async", None),
            ("/sub/items/apple", "GET /sub/items/{name}", None),
            ("/sub/nothing", "GET not_found", "404"),
            ("/refused?code=403", "GET /refused", "403"),
            ("/refused?code=503", "GET /refused", "HTTPException: 503: refused"),
            ("/number/seven", "GET /number/{number}", "422"),
            ("/openapi.json", "GET /openapi.json", None),
        ],
    )
    def test_route_is_the_whole_of_it(self, path: str, name: str, error: str | None) -> None:
        """Prefixes of routers and mounts included; what dependencies and validation refuse has a route as well."""
        with self.site():
            self.get(path)
            assert self.recorder.take(SERVER, error=error).name == name


@pytest.mark.skipif(not hasattr(FastAPI(), "_telemetry"), reason="this FastAPI makes no spans of its own")
class TestFastAPIWithAGlobalTracer(TestFastAPI):
    """FastAPI makes spans of its own as soon as OpenTelemetry's global tracer provider is set, as we set it."""

    def install(self) -> None:
        trace._TRACER_PROVIDER = provider
        super().install()

    def uninstall(self) -> None:
        super().uninstall()
        trace._TRACER_PROVIDER = None

    def test_removal_gives_fastapi_its_own_spans_back(self) -> None:
        with self.site() as site:
            app = application(site)
            with asgi_server(app) as url:
                self._netloc = url.removeprefix("http://")
                self.get("/items/apple")
                self.recorder.take(SERVER)
                self.uninstall()
                assert app._telemetry["tracing"] is True

    @pytest.mark.parametrize("place", ["application", "global, in a test of the application's"])
    def test_provider_that_the_application_chose_is_left_alone(
        self, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen = trace.NoOpTracerProvider()
        if place != "application":
            monkeypatch.setattr(trace, "get_tracer_provider", lambda: chosen)
        with self.site() as site:
            app = application(site, telemetry={"tracer_provider": chosen} if place == "application" else {})
            with asgi_server(app) as url:
                self._netloc = url.removeprefix("http://")
                self.get("/items/apple")
                self.recorder.take(SERVER)
                assert app._telemetry["tracing"] is True

    def test_spans_of_a_provider_that_the_application_chose_are_current_and_belong_together(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ours is around them: the handler's current span, and what FastAPI keeps of its request, are FastAPI's."""
        from fastapi.telemetry import get_telemetry_data
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        exporter, seen = InMemorySpanExporter(), []
        chosen = TracerProvider(shutdown_on_exit=False)
        chosen.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr("opentelemetry.propagate.get_global_textmap", lambda: propagator)  # which is init's part
        app = FastAPI(telemetry={"tracer_provider": chosen})

        @app.middleware("http")
        async def note(request: Request, call_next: Any) -> Any:
            trace.get_current_span().set_attribute("noted", True)
            return await call_next(request)

        @app.get("/items/{name}")
        def item(name: str) -> str:
            seen.append((trace.get_current_span().get_span_context().span_id, get_telemetry_data()))
            return name

        with self.site(), asgi_server(app) as url:
            self._netloc = url.removeprefix("http://")
            self.get("/items/apple")
            ours = self.recorder.take(SERVER)
        spans: dict[str, Any] = {span.name: span for span in exporter.get_finished_spans()}
        server, endpoint = spans["GET /items/{name}"], spans["fastapi.endpoint"]
        assert (endpoint.parent.span_id, endpoint.context.span_id) == (server.context.span_id, seen[0][0])
        assert (server.parent.span_id, server.attributes["noted"]) == (int(ours.span_id, 16), True)
        assert seen[0][1] is not None
        assert (ours.name, "noted" in ours.tags) == ("GET /items/{name}", False)

    def test_an_exporter_that_the_environment_names_for_fastapi_gets_the_spans(self) -> None:
        """FastAPI attaches it to the global provider, which is ours, when the application starts."""
        pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
        done = run(EXPORTING, FASTAPI_OTEL_AUTO_CONFIGURE="true", OTEL_METRICS_EXPORTER="none")
        assert (done.stdout, done.stderr) == ("['GET /items/{name}']\n", "")


EXPORTING = """
import os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import obskit
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        names.extend(span.name for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_): pass

names, server = [], HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}/traces"
obskit.init(exporter="none", disable=["http_client", "http_server"])
from urllib.request import urlopen
from fastapi import FastAPI
from fastapi.telemetry import _runtime
from obskit.testing.servers import asgi_server
app = FastAPI()
app.get("/items/{name}")(lambda name: name)
with asgi_server(app, lifespan="on") as url:
    urlopen(f"{url}/items/apple").close()
_runtime._shutdown()
print(names)
"""
