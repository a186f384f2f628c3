"""How the collector is: health, version, metrics, and the description of its interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from obskit.collector.api.answers import json_answer
from obskit.collector.lines.store import LineStore
from obskit.collector.metrics import (
    Forwarding,
    Metrics,
    Source,
    as_json,
    as_prometheus,
    forwarded,
    service_totals,
    sources_as_prometheus,
    told_losses,
)
from obskit.collector.openapi import openapi
from obskit.collector.request_times import RequestTimes
from obskit.collector.store.database import StoreError
from obskit.collector.store.spans import SpanStore
from obskit.collector.told_losses import ToldLosses

_UI_CONFIG = {
    "environment": "",
    "queryLimit": 10,
    "defaultLookback": 900_000,  # milliseconds
    "searchEnabled": True,
    "logsUrl": None,
    "supportUrl": None,
    "archivePostUrl": None,
    "archiveUrl": None,
    "dependency": {"enabled": True, "lowErrorRate": 0.5, "highErrorRate": 0.75},
}
"""``ZipkinUiConfiguration`` of zipkin-server 3.6.1 with its defaults."""


class OperationsApi:
    """The endpoints for whoever runs the collector. They run on Starlette's threads, so that no search delays them."""

    def __init__(
        self,
        store: SpanStore,
        lines: LineStore,
        times: RequestTimes,
        transports: Sequence[Metrics],
        forwarding: Callable[[], list[Forwarding]],
        sources: Callable[[], list[Source]],
        losses: ToldLosses,
        *,
        search_enabled: bool,
    ) -> None:
        self._store = store
        self._lines = lines
        self._times = times
        self._transports = transports
        self._forwarding = forwarding
        self._sources = sources
        self._losses = losses
        self._search_enabled = search_enabled

    def routes(self) -> list[Route]:
        """Return where the endpoints are; some also where Spring's actuator has them."""
        about = {"health": self.health, "info": self.info, "metrics": self.metrics, "prometheus": self.prometheus}
        actuator = {name: about[name] for name in ("health", "info", "prometheus")}
        return [
            Route("/zipkin/config.json", self.ui_config),
            Route("/openapi.json", self.openapi),
            *[Route(f"/{path}", answer) for path, answer in about.items()],
            *[Route(f"/actuator/{path}", answer) for path, answer in actuator.items()],
        ]

    def health(self, _request: Request) -> Response:
        """Answer 200 and UP, or 503 and DOWN with the reason, for the storage and, as in Zipkin, each source."""
        parts = {f"SQLiteStorage{{{self._store.name}}}": self._storage()}
        parts |= {source.component: _shown(source) for source in self._sources()}
        status = "UP" if all(part["status"] == "UP" for part in parts.values()) else "DOWN"
        body = {"status": status, "zipkin": {"status": status, "details": parts}}
        return json_answer(msgspec.json.encode(body), 200 if status == "UP" else 503)

    def _storage(self) -> dict[str, object]:
        try:
            self._store.check()
        except StoreError as error:
            return {"status": "DOWN", "details": {"error": str(error)}}
        return {"status": "UP"}

    def info(self, _request: Request) -> Response:
        """Return the version of this collector."""
        return json_answer(msgspec.json.encode({"zipkin": {"version": f"obskit {_version()}", "commit": "unknown"}}))

    def metrics(self, _request: Request) -> Response:
        """Return the counters, as Zipkin's JSON."""
        return json_answer(as_json(self._transports, self._forwarding(), self._sources()))

    def prometheus(self, _request: Request) -> Response:
        """Return the same for Prometheus."""
        counted = as_prometheus(self._transports) + service_totals(self._store.cells.totals())
        flows = forwarded(self._forwarding()) + sources_as_prometheus(self._sources())
        lost = told_losses(self._losses.by_service())
        text = counted + self._lines.prometheus() + lost + flows + self._times.prometheus()
        return Response(text, media_type="text/plain; version=0.0.4")

    def openapi(self, _request: Request) -> Response:
        """Return the description of this interface."""
        return json_answer(openapi(_version()))

    def ui_config(self, _request: Request) -> Response:
        """Return what Zipkin's own web interface (Lens) reads before it shows anything."""
        response = json_answer(msgspec.json.encode({**_UI_CONFIG, "searchEnabled": self._search_enabled}))
        response.headers["cache-control"] = "max-age=600"
        return response


def _shown(source: Source) -> dict[str, object]:
    details: dict[str, object] = {} if source.lag is None else {"lag": source.lag}
    if source.last_trouble:
        details["lastError"] = source.last_trouble
    if source.connected:
        return {"status": "UP", "details": details}
    return {"status": "DOWN", "details": {"error": source.last_trouble or "not connected yet", **details}}


def _version() -> str:
    try:
        return version("obskit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
