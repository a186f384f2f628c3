"""The collector as an ASGI application: which endpoints it has, and what stands in front of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from obskit.collector.api.answers import ERRORS
from obskit.collector.api.ingest import IngestApi
from obskit.collector.api.operations import OperationsApi
from obskit.collector.api.reads import ReadApi
from obskit.collector.guard import Guard
from obskit.collector.intake.bodies import Intake
from obskit.collector.kubernetes.api import KubernetesApi
from obskit.collector.kubernetes.store import KubernetesStore
from obskit.collector.lines.api import LinesApi
from obskit.collector.lines.store import LineStore
from obskit.collector.metrics import Forwarding, Metrics, Source
from obskit.collector.options import DEFAULTS, Options
from obskit.collector.pages.routes import page_routes
from obskit.collector.pages.website import Site
from obskit.collector.profiles.api import ProfilesApi
from obskit.collector.profiles.store import ProfileStore
from obskit.collector.request_times import RequestTimes
from obskit.collector.security import HostPolicy
from obskit.collector.store.spans import SpanStore
from obskit.collector.told import Told
from obskit.collector.workers import Workers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_slashes = re.compile("/{2,}").sub


def create_app(
    store: SpanStore,
    hosts: HostPolicy,
    workers: Workers,
    options: Options = DEFAULTS,
    *,
    told: Told,
    transports: Sequence[Metrics] = (),
    forwarding: Callable[[], list[Forwarding]] = list,
    sources: Callable[[], list[Source]] = list,
) -> ASGIApp:
    """Return the whole collector, which shows the metrics of other ``transports`` than HTTP, and what is ``told``."""
    intake, times, http = Intake(told), RequestTimes(), Metrics()
    lines = LineStore(store.database, options.max_line_bytes, store.max_age)
    kubernetes = KubernetesStore(store.database)
    profiles = ProfileStore(store.database, options.max_profile_bytes, store.max_age)
    store.ahead.append(profiles.sums.add_ahead)
    operations = OperationsApi(
        store,
        lines,
        times,
        (http, *transports),
        forwarding,
        sources,
        told.losses,
        search_enabled=options.search_enabled,
    )
    posts = IngestApi(store, workers, intake, http, options.keep)
    app = Starlette(
        routes=[
            *posts.routes(),
            *ReadApi(store, options).routes(workers),
            *operations.routes(),
            *LinesApi(lines, workers, intake).routes(),
            *KubernetesApi(kubernetes, workers, intake).routes(),
            *ProfilesApi(profiles, workers, intake).routes(),
            *page_routes(Site(store, lines, kubernetes, profiles, (http, *transports), told), workers),
        ],
        exception_handlers=ERRORS,
    )
    app.router.redirect_slashes = False
    return Guard(_OneSlash(times.around(posts.before(app))), hosts, options.token)


class _OneSlash:
    """ASGI middleware: ``//api/v2/services`` is ``/api/v2/services``, as in Zipkin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "//" in scope["path"]:
            scope = {**scope, "path": _slashes("/", scope["path"])}
        await self._app(scope, receive, send)
