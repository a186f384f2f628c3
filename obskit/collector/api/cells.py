"""Health numbers of a time, counted from spans by the minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from obskit.collector.api.answers import json_answer, params_of
from obskit.collector.deadline import Deadline
from obskit.collector.query import QueryError, parse_window
from obskit.collector.store.spans import SpanStore
from obskit.collector.workers import Workers

if TYPE_CHECKING:
    from obskit.collector.store.cells import Numbers


class CellsApi:
    """The endpoint over the numbers of ``store``."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store

    def routes(self, workers: Workers) -> list[Route]:
        """Return where the endpoint is."""
        return [Route("/api/obskit/v1/cells", workers.reading(self.cells))]

    def cells(self, request: Request, _deadline: Deadline) -> Response:
        """Health numbers: calls, errors and durations of each service and span name in a time."""
        params = params_of(request)
        window = parse_window({"endTs": str(int(time.time() * 1000)), **params})
        by = params.get("by", "")
        if by not in {"", "pod"}:
            raise QueryError(f"by is {by!r}; leave it out, or use pod for numbers of each workload and pod")
        between = self._store.cells.by_place if by else self._store.cells.between
        found = between(*window.window_by_millisecond, params.get("serviceName", "").lower() or None)
        return json_answer(msgspec.json.encode([_numbers(*item) for item in sorted(found.items())]))


def _numbers(key: tuple[str, ...], numbers: Numbers) -> dict[str, object]:
    place = dict(zip(("service", "name", "workload", "pod"), key, strict=False))
    percentiles = {f"p{part}": numbers.percentile(part / 100) for part in (50, 90, 99)}
    return {**place, "calls": numbers.calls, "errors": numbers.errors, **percentiles}
