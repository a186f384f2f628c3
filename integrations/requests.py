"""requests: patches ``HTTPAdapter.send``, which runs once per hop, below redirects and above urllib3."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

from requests.structures import CaseInsensitiveDict

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
        exchange.send_copy(args, kwargs, _copy(request.headers))
    return exchange


def _copy(headers: Any) -> Any:
    """Return what ``headers.copy()`` returns, which writes them one by one: half of what a traced call costs."""
    store = vars(headers).get("_store") if type(headers) is CaseInsensitiveDict else None
    if type(store) is not OrderedDict:
        return headers.copy()
    copy = CaseInsensitiveDict.__new__(CaseInsensitiveDict)
    vars(copy)["_store"] = store.copy()
    return copy


def _after(exchange: ClientExchange, response: Any) -> None:
    exchange.give_back(response)
    exchange.status = response.status_code
    finish_with_body(exchange, getattr(response.raw, "_original_response", None))
