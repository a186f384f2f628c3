"""One record for each request that was served, which Cloud Logging shows as the request's own line."""

from __future__ import annotations

import logging
from time import perf_counter

from obskit.instrumentation.server import ServerExchange
from obskit.logs.access import http_request
from obskit.logs.correlation import trace_of
from obskit.logs.moment import TRACE

_logger = logging.getLogger("obskit.requests")


def log_request(exchange: ServerExchange) -> None:
    """Log a request whose response is over. 4xx is a warning, 5xx an error."""
    seen = exchange.seen
    if seen is None:
        return
    request = http_request(
        exchange.method,
        seen.path,
        exchange.status,
        size=exchange.size,
        seconds=perf_counter() - seen.began,
        remote_ip=seen.remote_ip,
        user_agent=seen.user_agent,
    )
    level = logging.ERROR if exchange.status >= 500 else logging.WARNING if exchange.status >= 400 else logging.INFO
    trace = trace_of(exchange.span)
    extra = {"httpRequest": request} if trace is None else {"httpRequest": request, TRACE: trace}
    _logger.disabled = False  # as dictConfig leaves each logger that it does not name
    _logger.log(level, "%s %s %d", exchange.method, seen.path, exchange.status, extra=extra)
