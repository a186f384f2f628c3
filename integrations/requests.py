"""requests: patches ``HTTPAdapter.send``, which runs once per hop, below redirects and above urllib3."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.body import finish_with_body
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patches


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``requests.adapters``."""
    patches.around(module.HTTPAdapter, "send", _before, _after)


def _before(_adapter: Any, args: list[Any], kwargs: dict[str, Any]) -> ClientExchange | None:
    request = args[0] if args else kwargs["request"]
    exchange = begin(request.method or "GET", request.url, None)
    if exchange is not None:
        exchange.send_copy(args, kwargs)
    return exchange


def _after(exchange: ClientExchange, response: Any) -> None:
    exchange.give_back(response)
    exchange.status = response.status_code
    finish_with_body(exchange, getattr(response.raw, "_original_response", None))
