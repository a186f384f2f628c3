"""Spans over HTTP: Zipkin's formats of both versions, and OTLP."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from obskit.collector.api.answers import ERRORS, answer_to
from obskit.collector.intake.bodies import Intake
from obskit.collector.intake.otlp_messages import store_otlp
from obskit.collector.intake.zipkin import Keep, Rejected, store_message
from obskit.collector.metrics import Metrics
from obskit.collector.store.spans import SpanStore
from obskit.collector.workers import Workers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_STORED = Response(status_code=202)
_T = TypeVar("_T")


class IngestApi:
    """The endpoints that store spans in ``store``, those which ``keep`` lets pass, and count them in ``metrics``."""

    def __init__(self, store: SpanStore, workers: Workers, intake: Intake, metrics: Metrics, keep: Keep) -> None:
        self._store = store
        self._workers = workers
        self._intake = intake
        self._metrics = metrics
        self._keep = keep

    def routes(self) -> list[Route]:
        """Return where the endpoints are."""
        return [
            Route("/api/v2/spans", self.post_spans, methods=["POST"]),
            Route("/api/v1/spans", self.post_spans, methods=["POST"]),
            Route("/v1/traces", self.post_otlp, methods=["POST"]),
        ]

    def before(self, app: ASGIApp) -> ASGIApp:
        """Return an application that answers posts of spans itself, and leaves all other requests to ``app``.

        The steps of a framework would take longer than all else that is done with HTTP for a message.
        """
        errors: tuple[type[Exception], ...] = tuple(ERRORS)
        posts = {route.path: route.endpoint for route in self.routes()}

        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            post = posts.get(scope["path"]) if scope["method"] == "POST" else None
            if post is None:
                await app(scope, receive, send)
                return
            request = Request(scope, receive)
            try:
                answer = await post(request)
            except errors as error:
                answer = answer_to(error, request)
            await answer(scope, receive, send)

        return either

    async def post_spans(self, request: Request) -> Response:
        """Answer 202 once every span is stored."""
        await self._take(request, store_message)
        return _STORED

    async def post_otlp(self, request: Request) -> Response:
        """Answer 200 once every readable span is stored; the answer says how many could not be read."""
        answer = await self._take(request, store_otlp)
        return Response(answer, media_type=request.headers.get("content-type", "").partition(";")[0])

    async def _take(self, request: Request, store: Callable[..., _T]) -> _T | None:
        """Return what ``store`` makes of a message. Decoding and writing run on one thread at a time."""
        version = 1 if request.scope["path"].startswith("/api/v1/") else 2
        try:
            async with self._intake.message(request, version) as message:
                self._metrics.received()
                work = partial(store, self._store, self._metrics, self._keep, message)
                return await self._workers.write(request, work)
        except Rejected:
            self._metrics.dropped()
            raise
        except ClientDisconnect:
            self._metrics.dropped()
            return None  # the client has left
