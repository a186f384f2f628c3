"""Responses whose bodies are under way, so that one which nobody ends does not stay open for ever."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from obskit.base import told_running
from obskit.base.process import on_fork
from obskit.tracing.span import Span

if TYPE_CHECKING:
    from obskit.instrumentation.server_exchange import ServerExchange

_LONGEST_RESPONSE = 3600 * 10**9  # no request to Cloud Run may take longer
_BETWEEN_LOOKS = 60 * 10**9

under_way: set[ServerExchange] = set()
"""Those that have a span; each leaves as it ends."""

_look_at = 0
on_fork(under_way.clear)  # they are the parent's


def streaming(exchange: ServerExchange) -> None:
    """Remember, until it is over, a response whose body is under way; now and then, end those nobody ends."""
    span = exchange.span
    if type(span) is Span:
        under_way.add(exchange)
        if span.start_ns > _look_at:
            _abandon_the_oldest()


def abandon_streams() -> None:
    """End the spans of all responses whose bodies are under way, as the process ends; no request runs any more."""
    told_running.answered_by(list)
    for exchange in under_way.copy():
        exchange.abandon("the process ended amid the response")


def _abandon_the_oldest() -> None:
    global _look_at  # noqa: PLW0603 - a time kept here costs no thread and no timer
    now = time_ns()
    _look_at = now + _BETWEEN_LOOKS
    for exchange in under_way.copy():
        if type(exchange.span) is Span and now - exchange.span.start_ns > _LONGEST_RESPONSE:
            exchange.abandon("the response was still open after an hour")
