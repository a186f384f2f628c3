"""What endpoints have in common: the parameters of a request, answers in JSON, and what errors are answered with."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from obskit.collector.deadline import Stopped
from obskit.collector.intake.zipkin import Rejected
from obskit.collector.query import QueryError, first_values
from obskit.collector.store.database import StoreError

_REJECTED_HEADERS = {408: {"connection": "close"}, 503: {"connection": "close", "retry-after": "1"}}


def params_of(request: Request) -> Mapping[str, str]:
    """Return the parameters of the URL; of a repeated one, the first value counts."""
    return first_values(request.query_params.multi_items())


def json_answer(data: bytes, status: int = 200) -> Response:
    """Return an answer of encoded JSON."""
    return Response(data, status, media_type="application/json")


def _rejected(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)  # what it is registered for
    return PlainTextResponse(f"{error}\n", error.status, _REJECTED_HEADERS.get(error.status))


def _bad_query(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)


def _store_failed(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"storage failed: {error}\n", 503)


def _stopped(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503)


ERRORS = {Rejected: _rejected, QueryError: _bad_query, StoreError: _store_failed, Stopped: _stopped}


def answer_to(error: Exception, request: Request) -> Response:
    """Return what one of these errors is answered with."""
    return next(answer(request, error) for kind, answer in ERRORS.items() if isinstance(error, kind))
