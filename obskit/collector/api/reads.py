"""The API for reading: Zipkin's traces, names, dependencies and autocomplete, and health numbers by the minute."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from obskit.collector.api.answers import json_answer, params_of
from obskit.collector.deadline import Deadline
from obskit.collector.options import Options
from obskit.collector.query import QueryError, java_trim, parse_query, parse_trace_id, parse_window
from obskit.collector.store.spans import SpanStore
from obskit.collector.workers import Workers
from obskit.zipkin.json_v2 import encode_list
from obskit.zipkin.model import Span

if TYPE_CHECKING:
    from obskit.collector.store.health_numbers import Numbers

_LARGEST_ANSWER = 64 * 1024 * 1024  # bytes of several traces; a single one may be larger
_PATIENCE = {"dependencies": 6.0}  # times the timeout of a search
_FEW_NAMES = 3  # as Zipkin: a longer list of names may be cached


class ReadApi:
    """The endpoints that read from ``store``. They have a deadline and run on the readers' threads."""

    def __init__(self, store: SpanStore, options: Options) -> None:
        self._store = store
        self._options = options

    def routes(self, workers: Workers) -> list[Route]:
        """Return where the endpoints are; Zipkin's are also below ``/zipkin``, where its web interface asks."""
        reads = {
            "traces": self.traces,
            "trace/{traceId}": self.trace,
            "traceMany": self.trace_many,
            "dependencies": self.dependencies,
            "services": self.services,
            "spans": self.spans,
            "remoteServices": self.remote_services,
            "autocompleteKeys": self.autocomplete_keys,
            "autocompleteValues": self.autocomplete_values,
        }
        return [
            *[
                Route(f"{prefix}/api/v2/{path}", workers.reading(read, _PATIENCE.get(path, 1.0)))
                for prefix in ("", "/zipkin")
                for path, read in reads.items()
            ],
            Route("/api/obskit/v1/cells", workers.reading(self.cells)),
        ]

    def traces(self, request: Request, deadline: Deadline) -> Response:
        """Return the traces which match a query."""
        query = parse_query(params_of(request))
        return json_answer(_lists(self._store.search(query, deadline) if self._options.search_enabled else []))

    def trace(self, request: Request, _deadline: Deadline) -> Response:
        """Return one trace by its id."""
        trace_id = parse_trace_id(java_trim(request.path_params["traceId"]))
        spans = self._store.trace(trace_id)
        return json_answer(encode_list(spans)) if spans else PlainTextResponse(f"{trace_id} not found\n", 404)

    def trace_many(self, request: Request, deadline: Deadline) -> Response:
        """Several traces by their ids; unknown ones are left out."""
        ids = [parse_trace_id(text) for text in params_of(request).get("traceIds", "").split(",")]
        if len(ids) == 1:
            raise QueryError("traceIds has one id; use /api/v2/trace/{traceId} to read a single trace")
        redundant = next((trace_id for trace_id, count in Counter(ids).items() if count > 1), None)
        if redundant:
            raise QueryError(f"redundant traceId: {redundant}")
        return json_answer(_lists(filter(None, self._store.traces(ids, deadline))))

    def dependencies(self, request: Request, deadline: Deadline) -> Response:
        """Return which service calls which, counted over the traces of a time."""
        return json_answer(msgspec.json.encode(self._store.links(parse_window(params_of(request)), deadline)))

    def services(self, _request: Request, _deadline: Deadline) -> Response:
        """Return the names of the local services."""
        names = self._service_names()
        return _names(names, cached=len(names) > _FEW_NAMES)

    def spans(self, request: Request, _deadline: Deadline) -> Response:
        """Return the span names of a service."""
        return self._names_of_service(request, self._store.span_names)

    def remote_services(self, request: Request, _deadline: Deadline) -> Response:
        """Return the remote services of a service."""
        return self._names_of_service(request, self._store.remote_service_names)

    def autocomplete_keys(self, _request: Request, _deadline: Deadline) -> Response:
        """Return the tags whose values are listed."""
        keys = self._options.autocomplete_keys if self._options.search_enabled else ()
        return _names(list(keys), cached=True)

    def autocomplete_values(self, request: Request, _deadline: Deadline) -> Response:
        """Return the values of one of these tags."""
        key = params_of(request).get("key")
        if not key:
            raise QueryError("key is missing; give one of /api/v2/autocompleteKeys")
        values = self._store.tag_values(key) if self._options.search_enabled else []
        return _names(values, cached=len(values) > _FEW_NAMES)

    def cells(self, request: Request, _deadline: Deadline) -> Response:
        """Return calls, errors and durations of each service and span name in a time."""
        params = params_of(request)
        window = parse_window({"endTs": str(int(time.time() * 1000)), **params})
        by = params.get("by", "")
        if by not in {"", "pod"}:
            raise QueryError(f"by is {by!r}; leave it out, or use pod for numbers of each workload and pod")
        between = self._store.cells.by_place if by else self._store.cells.between
        found = between(*window.window_by_millisecond, params.get("serviceName", "").lower() or None)
        return json_answer(msgspec.json.encode([_numbers(*item) for item in sorted(found.items())]))

    def _service_names(self) -> list[str]:
        return self._store.service_names() if self._options.search_enabled else []

    def _names_of_service(self, request: Request, names: Callable[[str], list[str]]) -> Response:
        service = params_of(request).get("serviceName")
        if service is None:
            raise QueryError("serviceName is missing; give the name of a service")
        found = names(service.lower()) if self._options.search_enabled else []
        return _names(found, cached=len(self._service_names()) > _FEW_NAMES)


def _names(names: list[str], *, cached: bool) -> Response:
    response = json_answer(msgspec.json.encode(names))
    if cached:
        response.headers["cache-control"] = "max-age=300, must-revalidate"
    return response


def _lists(traces: Iterable[list[Span]]) -> bytes:
    """Return a list of traces; each is encoded before the next is read. Raises QueryError when it gets too long."""
    lists: list[bytes] = []
    size = 0
    for spans in traces:
        lists.append(encode_list(spans))
        size += len(lists[-1])
        if size > _LARGEST_ANSWER and len(lists) > 1:
            what = f"the first {len(lists)} traces are over {_LARGEST_ANSWER} bytes"
            raise QueryError(f"{what}; ask for fewer (limit) or for less time (lookback)")
    return b"[" + b",".join(lists) + b"]"


def _numbers(key: tuple[str, ...], numbers: Numbers) -> dict[str, object]:
    place = dict(zip(("service", "name", "workload", "pod"), key, strict=False))
    percentiles = {f"p{part}": numbers.percentile(part / 100) for part in (50, 90, 99)}
    return {**place, "calls": numbers.calls, "errors": numbers.errors, **percentiles}
