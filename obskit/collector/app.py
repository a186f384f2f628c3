"""The HTTP interface: Zipkin's API v2, health, info and metrics, and the pages.

Source: the Zipkin v2 API (openzipkin/zipkin-api) as zipkin-server 3.6.1 answers it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from obskit.collector.deadline import Deadline, Stopped
from obskit.collector.guard import Guard
from obskit.collector.hosts import HostPolicy
from obskit.collector.intake.bodies import Intake
from obskit.collector.intake.otlp_messages import store_otlp
from obskit.collector.intake.zipkin import Rejected, store_message
from obskit.collector.kubernetes.api import KubernetesApi
from obskit.collector.kubernetes.store import KubernetesStore
from obskit.collector.lines.api import LinesApi
from obskit.collector.lines.store import LineStore
from obskit.collector.metrics import Forwarding, Metrics, as_json, as_prometheus, forwarded, service_totals
from obskit.collector.openapi import openapi
from obskit.collector.options import DEFAULTS, Options
from obskit.collector.pages.routes import page_routes
from obskit.collector.pages.website import Site
from obskit.collector.profiles.api import ProfilesApi
from obskit.collector.profiles.store import ProfileStore
from obskit.collector.query import QueryError, first_values, java_trim, parse_query, parse_window
from obskit.collector.request_times import RequestTimes
from obskit.collector.store.database import StoreError
from obskit.collector.store.spans import SpanStore
from obskit.collector.ui_config import ui_config
from obskit.collector.workers import Workers
from obskit.zipkin.ids import normalise_trace_id
from obskit.zipkin.json_v2 import encode_list

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from obskit.collector.store.cells import Numbers
    from obskit.zipkin.model import Span

_T = TypeVar("_T")
_REJECTED_HEADERS = {408: {"connection": "close"}, 503: {"connection": "close", "retry-after": "1"}}
_LARGEST_ANSWER = 64 * 1024 * 1024  # bytes of several traces; a single one may be larger
_slashes = re.compile("/{2,}").sub
_PATIENCE = {"dependencies": 6.0}  # times the timeout of a search
_FEW_NAMES = 3  # as Zipkin: a longer list of names may be cached


class Api:
    """The endpoints over a store. Those with a deadline run on the readers' threads (see ``workers``)."""

    def __init__(
        self,
        store: SpanStore,
        lines: LineStore,
        workers: Workers,
        options: Options,
        intake: Intake,
        times: RequestTimes,
        forwarding: Callable[[], list[Forwarding]],
        transports: Sequence[Metrics] = (),
    ) -> None:
        self._store = store
        self._lines = lines
        self._workers = workers
        self._options = options
        self._metrics = Metrics()
        self._transports = (self._metrics, *transports)
        self._intake = intake
        self._times = times
        self._forwarding = forwarding

    async def post_spans(self, request: Request) -> Response:
        """202 once every span is stored."""
        await self._take(request, store_message)
        return Response(status_code=202)

    async def post_otlp(self, request: Request) -> Response:
        """200 once every span is stored that could be read; the answer says how many could not."""
        answer = await self._take(request, store_otlp)
        return Response(answer, media_type=request.headers.get("content-type", "").partition(";")[0])

    async def _take(self, request: Request, store: Callable[..., _T]) -> _T | None:
        """What ``store`` makes of a message. Decoding and writing run on one thread at a time."""
        version = 1 if request.url.path.startswith("/api/v1/") else 2
        try:
            async with self._intake.message(request, version) as message:
                self._metrics.received()
                work = partial(store, self._store, self._metrics, self._options.keeps, message)
                return await self._workers.write(request, work)
        except Rejected:
            self._metrics.dropped()
            raise
        except ClientDisconnect:
            self._metrics.dropped()
            return None  # the client has left

    def traces(self, request: Request, deadline: Deadline) -> Response:
        """The traces which match a query."""
        query = parse_query(_params(request))
        return _json(_lists(self._store.search(query, deadline) if self._options.search_enabled else []))

    def trace(self, request: Request, _deadline: Deadline) -> Response:
        """One trace by its id."""
        trace_id = _trace_id(request.path_params["traceId"])
        spans = self._store.trace(trace_id)
        return _json(encode_list(spans)) if spans else PlainTextResponse(f"{trace_id} not found\n", 404)

    def trace_many(self, request: Request, deadline: Deadline) -> Response:
        """Several traces by their ids; unknown ones are left out."""
        ids = [_normal(text) for text in _params(request).get("traceIds", "").split(",")]
        if len(ids) == 1:
            raise QueryError("traceIds has one id; use /api/v2/trace/{traceId} to read a single trace")
        redundant = next((trace_id for trace_id, count in Counter(ids).items() if count > 1), None)
        if redundant:
            raise QueryError(f"redundant traceId: {redundant}")
        return _json(_lists(filter(None, self._store.traces(ids, deadline))))

    def dependencies(self, request: Request, deadline: Deadline) -> Response:
        """Which service calls which, counted over the traces of a time."""
        return _json(msgspec.json.encode(self._store.links(parse_window(_params(request)), deadline)))

    def services(self, _request: Request, _deadline: Deadline) -> Response:
        """The names of the local services."""
        names = self._service_names()
        return _names(names, cached=len(names) > _FEW_NAMES)

    def spans(self, request: Request, _deadline: Deadline) -> Response:
        """The span names of a service."""
        return self._names_of_service(request, self._store.span_names)

    def remote_services(self, request: Request, _deadline: Deadline) -> Response:
        """The remote services of a service."""
        return self._names_of_service(request, self._store.remote_service_names)

    def autocomplete_keys(self, _request: Request, _deadline: Deadline) -> Response:
        """The tags whose values are listed."""
        keys = self._options.autocomplete_keys if self._options.search_enabled else ()
        return _names(list(keys), cached=True)

    def autocomplete_values(self, request: Request, _deadline: Deadline) -> Response:
        """The values of one of these tags."""
        key = _params(request).get("key")
        if not key:
            raise QueryError("key is missing; give one of /api/v2/autocompleteKeys")
        values = self._store.tag_values(key) if self._options.search_enabled else []
        return _names(values, cached=len(values) > _FEW_NAMES)

    def cells(self, request: Request, _deadline: Deadline) -> Response:
        """Health numbers: calls, errors and durations of each service and span name in a time."""
        params = _params(request)
        window = parse_window({"endTs": str(int(time.time() * 1000)), **params})
        by = params.get("by", "")
        if by not in {"", "pod"}:
            raise QueryError(f"by is {by!r}; leave it out, or use pod for numbers of each workload and pod")
        between = self._store.cells.by_place if by else self._store.cells.between
        found = between(*window.window_by_millisecond, params.get("serviceName", "").lower() or None)
        return _json(msgspec.json.encode([_numbers(*item) for item in sorted(found.items())]))

    def health(self, _request: Request) -> Response:
        """200 and UP, or 503 and DOWN with the reason."""
        status, details = "UP", {}
        try:
            self._store.check()
        except StoreError as error:
            status, details = "DOWN", {"details": {"error": str(error)}}
        storage = {"status": status, **details}
        zipkin = {"status": status, "details": {f"SQLiteStorage{{{self._store.name}}}": storage}}
        return _json(msgspec.json.encode({"status": status, "zipkin": zipkin}), 200 if status == "UP" else 503)

    def info(self, _request: Request) -> Response:
        """The version of this collector."""
        return _json(msgspec.json.encode({"zipkin": {"version": f"obskit {_version()}", "commit": "unknown"}}))

    def metrics(self, _request: Request) -> Response:
        """What was counted, as Zipkin's JSON."""
        return _json(as_json(self._transports, self._forwarding()))

    def prometheus(self, _request: Request) -> Response:
        """The same for Prometheus."""
        counted = as_prometheus(self._transports) + service_totals(self._store.cells.totals())
        text = counted + self._lines.prometheus() + forwarded(self._forwarding()) + self._times.prometheus()
        return Response(text, media_type="text/plain; version=0.0.4")

    def openapi(self, _request: Request) -> Response:
        """The description of this interface."""
        return _json(openapi(_version()))

    def ui_config(self, _request: Request) -> Response:
        """What Zipkin's own web interface asks for before anything else."""
        response = _json(ui_config(search_enabled=self._options.search_enabled))
        response.headers["cache-control"] = "max-age=600"
        return response

    def _service_names(self) -> list[str]:
        return self._store.service_names() if self._options.search_enabled else []

    def _names_of_service(self, request: Request, names: Callable[[str], list[str]]) -> Response:
        service = _params(request).get("serviceName")
        if service is None:
            raise QueryError("serviceName is missing; give the name of a service")
        found = names(service.lower()) if self._options.search_enabled else []
        return _names(found, cached=len(self._service_names()) > _FEW_NAMES)


def create_app(
    store: SpanStore,
    hosts: HostPolicy,
    options: Options = DEFAULTS,
    *,
    transports: Sequence[Metrics] = (),
    forwarding: Callable[[], list[Forwarding]] = list,
) -> ASGIApp:
    """The whole collector as an ASGI application, which also shows the metrics of other ``transports``."""
    workers, intake, times = Workers(), Intake(), RequestTimes()
    lines = LineStore(store.database, options.max_line_bytes, store.max_age)
    kubernetes = KubernetesStore(store.database)
    profiles = ProfileStore(store.database, options.max_profile_bytes, store.max_age)
    api = Api(store, lines, workers, options, intake, times, forwarding, transports)
    app = Starlette(
        routes=[
            *_api_routes(api, workers),
            *LinesApi(lines, workers, intake).routes(),
            *KubernetesApi(kubernetes, workers, intake).routes(),
            *ProfilesApi(profiles, intake).routes(),
            *page_routes(Site(store, lines, kubernetes, profiles), workers),
        ],
        exception_handlers={
            Rejected: _rejected,
            QueryError: _bad_query,
            StoreError: _store_failed,
            Stopped: _stopped,
        },
    )
    app.router.redirect_slashes = False
    return Guard(_OneSlash(times.around(app)), hosts, options.token)


class _OneSlash:
    """ASGI middleware: ``//api/v2/services`` is ``/api/v2/services``, as in Zipkin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "path": _slashes("/", scope["path"])}, receive, send)


def _api_routes(api: Api, workers: Workers) -> list[Route]:
    reads = {
        "traces": api.traces,
        "trace/{traceId}": api.trace,
        "traceMany": api.trace_many,
        "dependencies": api.dependencies,
        "services": api.services,
        "spans": api.spans,
        "remoteServices": api.remote_services,
        "autocompleteKeys": api.autocomplete_keys,
        "autocompleteValues": api.autocomplete_values,
    }
    about = {"health": api.health, "info": api.info, "metrics": api.metrics, "prometheus": api.prometheus}
    actuator = {"health": api.health, "info": api.info, "prometheus": api.prometheus}
    return [
        Route("/api/v2/spans", api.post_spans, methods=["POST"]),
        Route("/api/v1/spans", api.post_spans, methods=["POST"]),
        Route("/v1/traces", api.post_otlp, methods=["POST"]),
        *[
            Route(f"{prefix}/api/v2/{path}", workers.reading(read, _PATIENCE.get(path, 1.0)))
            for prefix in ("", "/zipkin")
            for path, read in reads.items()
        ],
        Route("/zipkin/config.json", api.ui_config),
        Route("/openapi.json", api.openapi),
        Route("/api/obskit/v1/cells", workers.reading(api.cells)),
        *[Route(f"/{path}", answer) for path, answer in about.items()],
        *[Route(f"/actuator/{path}", answer) for path, answer in actuator.items()],
    ]


def _params(request: Request) -> Mapping[str, str]:
    return first_values(request.query_params.multi_items())


def _trace_id(text: str) -> str:
    return _normal(java_trim(text))


def _normal(text: str) -> str:
    try:
        return normalise_trace_id(text)
    except ValueError as error:
        raise QueryError(str(error)) from None


def _json(data: bytes, status: int = 200) -> Response:
    return Response(data, status, media_type="application/json")


def _numbers(key: tuple[str, ...], numbers: Numbers) -> dict[str, object]:
    place = dict(zip(("service", "name", "workload", "pod"), key, strict=False))
    percentiles = {f"p{part}": numbers.percentile(part / 100) for part in (50, 90, 99)}
    return {**place, "calls": numbers.calls, "errors": numbers.errors, **percentiles}


def _names(names: list[str], *, cached: bool) -> Response:
    response = _json(msgspec.json.encode(names))
    if cached:
        response.headers["cache-control"] = "max-age=300, must-revalidate"
    return response


def _lists(traces: Iterable[list[Span]]) -> bytes:
    """A list of traces, of which one is encoded before the next is read. Raises QueryError when it gets too long."""
    lists: list[bytes] = []
    size = 0
    for spans in traces:
        lists.append(encode_list(spans))
        size += len(lists[-1])
        if size > _LARGEST_ANSWER and len(lists) > 1:
            what = f"the first {len(lists)} traces are over {_LARGEST_ANSWER} bytes"
            raise QueryError(f"{what}; ask for fewer (limit) or for less time (lookback)")
    return b"[" + b",".join(lists) + b"]"


def _rejected(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)  # what it is registered for
    return PlainTextResponse(f"{error}\n", error.status, _REJECTED_HEADERS.get(error.status))


def _bad_query(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)


def _store_failed(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"storage failed: {error}\n", 503)


def _stopped(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503)


def _version() -> str:
    try:
        return version("obskit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
