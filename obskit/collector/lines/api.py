"""Log lines over HTTP: in as JSON lines or OTLP, out as JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from obskit.collector.api.answers import json_answer, params_of
from obskit.collector.deadline import Deadline
from obskit.collector.intake.bodies import Intake
from obskit.collector.intake.log_entries import read_lines
from obskit.collector.intake.otlp_logs import store_otlp_logs
from obskit.collector.intake.zipkin import Message
from obskit.collector.lines.line import Line
from obskit.collector.lines.params import parse_lines_query, place_text, whole_number
from obskit.collector.lines.search import Found, around, arrived, line_of, search
from obskit.collector.lines.store import LineStore
from obskit.collector.metrics import Metrics
from obskit.collector.workers import Workers

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_T = TypeVar("_T")


class LinesApi:
    """The endpoints over a store of lines."""

    def __init__(self, lines: LineStore, workers: Workers, intake: Intake) -> None:
        self._lines = lines
        self._workers = workers
        self._intake = intake
        self._metrics = Metrics()

    def routes(self) -> list[Route]:
        """Return the endpoints' routes."""
        return [
            Route("/api/obskit/v1/lines", self.post, methods=["POST"]),
            Route("/api/obskit/v1/lines", self._workers.reading(self.get)),
            Route("/v1/logs", self.post_otlp, methods=["POST"]),
        ]

    async def post(self, request: Request) -> Response:
        """Answer 200 once every line is stored, with how many there were and how many of them are new."""
        params = params_of(request)
        store = partial(_store_lines, params.get("service", ""), params.get("instance", ""))
        return json_answer(await self._take(request, store) or b"")

    async def post_otlp(self, request: Request) -> Response:
        """Answer 200 once every record is stored that could be read; the answer says how many could not."""
        answer = await self._take(request, store_otlp_logs)
        return Response(answer, media_type=request.headers.get("content-type", "").partition(";")[0])

    async def _take(self, request: Request, store: Callable[..., _T]) -> _T | None:
        """Return what ``store`` makes of a message; None when the client has left. Raises Rejected or StoreError."""
        try:
            async with self._intake.message(request) as message:
                return await self._workers.write(request, partial(store, self._lines, self._metrics, message))
        except ClientDisconnect:
            return None

    def get(self, request: Request, deadline: Deadline) -> Response:
        """Return the newest lines that match, those that came after the line ``after``, or those around ``line``."""
        params, database = params_of(request), self._lines.database
        if "line" in params:
            line = line_of(database, whole_number("line", params["line"]))
            if line is None:
                return PlainTextResponse(f"line {params['line']} is not stored here\n", 404)
            return json_answer(encode_found(Found(around(database, line, deadline))))
        query = parse_lines_query(params)
        if "after" in params:
            return json_answer(encode_found(arrived(database, query, whole_number("after", params["after"]), deadline)))
        return json_answer(encode_found(search(database, query, deadline)))


def _store_lines(
    service: str, instance: str, store: LineStore, metrics: Metrics, message: Message, deadline: Deadline
) -> bytes:
    lines = list(read_lines(message.inflated(metrics, deadline), service, instance))
    return msgspec.json.encode({"lines": len(lines), "new": store.add(lines)})


def encode_found(found: Found) -> bytes:
    """Return the answer to a search."""
    answer = {
        "lines": [_shown(line) for line in found.lines],
        "more": place_text(found.more) or None,
        "searchedFrom": iso(found.searched_from) if found.searched_from else None,
    }
    return msgspec.json.encode({**answer, "lastId": found.last_id} if found.last_id else answer)


def _shown(line: Line) -> dict[str, object]:
    """Return a line with names, and without what is empty."""
    named = {**msgspec.structs.asdict(line), "time": iso(line.time), "severity": line.level}
    return {name: value for name, value in named.items() if value or name == "message"}


def iso(microseconds: int) -> str:
    """Return a time in RFC 3339; the last that a date can have for what lies beyond."""
    moment = _EPOCH + timedelta(microseconds=min(microseconds, 253_402_300_799_999_999))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
