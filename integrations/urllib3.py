"""urllib3 1.26 and 2: patches ``HTTPConnectionPool._make_request``, which runs once per attempt.

``urlopen`` calls itself for retries and redirects, so a span there would nest them.
"""

from __future__ import annotations

from collections import OrderedDict
from time import time_ns
from types import ModuleType
from typing import Any

from obskit.instrumentation.body import finish_with_body
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patches, guarded
from obskit.tracing.span import Span


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every attempt. ``module`` is ``urllib3.connectionpool``."""
    patches.around(module.HTTPConnectionPool, "_make_request", _before, _after)
    patches.wrap(module.HTTPSConnectionPool, "_prepare_proxy", _prepare_proxy)


def _before(pool: Any, args: list[Any], kwargs: dict[str, Any]) -> ClientExchange | None:
    exchange = begin(args[1], ((pool.scheme, pool.host, pool.port), args[2]), None)
    if exchange is not None:
        headers = kwargs["headers"] = _copy(kwargs.get("headers"))
        exchange.inject(headers)
    return exchange


def _copy(headers: Any) -> Any:
    """Return a copy, as the caller's headers may be the pool's own; HTTPHeaderDict keeps its repeated ones."""
    stored = getattr(headers, "_store", None)
    if type(stored) is OrderedDict:  # of requests, whose ``copy`` writes them one by one, which is dear
        return dict(stored.values())
    return headers.copy() if hasattr(headers, "copy") else dict(headers or ())


def _after(exchange: ClientExchange, response: Any) -> None:
    """Version 2 returns its own response around the one of ``http.client``, version 1.26 that one itself."""
    exchange.status = response.status
    finish_with_body(exchange, getattr(response, "_original_response", response))


def _prepare_proxy(wrapped: Any, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Open a tunnel through a proxy, which comes before the attempt: only one that is refused has a span."""
    started = time_ns()
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        guarded("describing a refused tunnel", _refused, pool, error, started)
        raise


def _refused(pool: Any, error: BaseException, started: int) -> None:
    exchange = begin("CONNECT", ((pool.scheme, pool.host, pool.port), "/"), None)
    if exchange is None:
        return
    if type(exchange.span) is Span:
        exchange.span.start_ns = started
    exchange.finish(error)
