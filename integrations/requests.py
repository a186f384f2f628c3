"""requests: patches ``HTTPAdapter.send``, which runs once per hop, below redirects and above urllib3."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from requests.structures import CaseInsensitiveDict

from obskit.instrumentation.body import finish_with_body
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patches
from obskit.propagation.carriers import Entries
from obskit.propagation.headers import LOWER_CASE, Fields


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``requests.adapters``."""
    patches.around(module.HTTPAdapter, "send", _before, _after)


def _before(_adapter: Any, args: list[Any], kwargs: dict[str, Any]) -> ClientExchange | None:
    request = args[0] if args else kwargs["request"]
    exchange = begin(request.method or "GET", request.url, None)
    if exchange is not None:
        exchange.send_copy(args, kwargs, *_copy(request.headers))
    return exchange


def _copy(headers: Any) -> tuple[Any, Any]:
    """Return what ``headers.copy()`` returns, which writes them one by one, and what is quickly written to."""
    store = headers._store if type(headers) is CaseInsensitiveDict else None
    if type(store) is not OrderedDict:
        copy = headers.copy()
        return copy, copy
    copy = CaseInsensitiveDict.__new__(CaseInsensitiveDict)
    copy._store = store = store.copy()
    return copy, _Headers(store)


class _Headers(Entries):
    """The dict that requests keeps headers in: by the name in lower case, the name as it is spelled, and the value."""

    def __init__(self, store: dict[str, tuple[Any, Any]]) -> None:
        self._store = store

    def have_any(self, names: frozenset[str]) -> bool:
        return not names.isdisjoint(self._store)

    def add(self, fields: Fields) -> None:
        store = self._store
        for field in fields:
            store[LOWER_CASE[field[0]]] = field

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def __getitem__(self, name: str) -> Any:
        return self._store[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        self._store[name.lower()] = (name, value)

    def __delitem__(self, name: str) -> None:
        del self._store[name.lower()]


def _after(exchange: ClientExchange, response: Any) -> None:
    exchange.give_back(response)
    exchange.status = response.status_code
    finish_with_body(exchange, getattr(response.raw, "_original_response", None))
