"""Profiles over HTTP: ``POST /ingest``."""

from __future__ import annotations

from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from obskit.collector.api.answers import params_of
from obskit.collector.intake.bodies import Intake
from obskit.collector.intake.profiles import read_profile
from obskit.collector.profiles.store import ProfileStore
from obskit.collector.workers import Workers


class ProfilesApi:
    """Takes profiles. Reading one may take a second: that has a thread of its own, so no span waits for it."""

    def __init__(self, profiles: ProfileStore, workers: Workers, intake: Intake) -> None:
        self._profiles = profiles
        self._workers = workers
        self._intake = intake

    def routes(self) -> list[Route]:
        """Return the endpoint's routes."""
        return [Route("/ingest", self.post, methods=["POST"])]

    async def post(self, request: Request) -> Response:
        """Answer 200 once the profile is stored."""
        params = params_of(request)
        kind = request.headers.get("content-type", "")

        def work(body: bytes) -> None:
            self._profiles.add(*read_profile(params, kind, body))

        try:
            async with self._intake.body(request) as body:
                await self._workers.beside(request, partial(work, body))
        except ClientDisconnect:
            pass
        return Response()
