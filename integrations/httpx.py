"""httpx and httpx2: patches ``Client._send_single_request`` and its async twin: one hop each, above any transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache, partial
from operator import itemgetter
from types import ModuleType
from typing import Any

from obskit.instrumentation.client import ClientExchange, begin, copied
from obskit.instrumentation.patching import Patches
from obskit.propagation.carriers import Entries
from obskit.propagation.headers import LOWER_CASE, Fields

_SWITCHED = 101  # to WebSocket, which may last for days: the span is of the handshake


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``httpx``, or ``httpx2``, which grew out of it."""
    stream = type("Stream", (_Stream, module.SyncByteStream), {})
    async_stream = type("AsyncStream", (_AsyncStream, module.AsyncByteStream), {})
    patches.around(module.Client, "_send_single_request", _before, partial(_after, stream))
    patches.around_async(module.AsyncClient, "_send_single_request", _before, partial(_after, async_stream))


def _before(_client: Any, args: list[Any], kwargs: dict[str, Any]) -> ClientExchange | None:
    request = args[0] if args else kwargs["request"]
    exchange = begin(request.method, _parts(request.url), None)
    if exchange is not None:
        exchange.send_copy(args, kwargs, *_copied_headers(request.headers))
    return exchange


def _parts(url: Any) -> Any:
    """Return a URL as httpx keeps it, where its text is not there yet; else the URL itself."""
    try:
        scheme, _, host, port, path, _, _ = url._uri_reference
    except Exception:
        return url
    return (scheme, host, port), path


def _copied_headers(headers: Any) -> tuple[Any, Any]:
    """Return what ``headers.copy()`` returns, but not read anew, and what writes to it."""
    if not hasattr(headers, "_list"):
        copy = headers.copy()
        return copy, copy
    copy = copied(headers)
    copy._list = headers._list.copy()
    return copy, _Headers(copy)


@lru_cache(maxsize=16)
def _as_bytes(names: frozenset[str]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in names)


_lower = itemgetter(1)
_SPELLED = {name: (name.encode(), lower.encode()) for name, lower in LOWER_CASE.items()}


class _Headers(Entries):
    """httpx keeps them in a list: each name as it is spelled, in lower case, and the value."""

    def have_any(self, names: frozenset[str]) -> bool:
        return not _as_bytes(names).isdisjoint(map(_lower, self.headers._list))

    def add(self, fields: Fields) -> None:
        entries = self.headers._list
        for name, value in fields:
            spelled, lower = _SPELLED[name]
            entries.append((spelled, lower, value.encode("ascii")))


def _after(stream: Callable[[Any, ClientExchange], Any], exchange: ClientExchange, response: Any) -> None:
    exchange.give_back(response)
    exchange.status = status = response.status_code
    if response.is_closed or status == _SWITCHED:
        exchange.finish()
    else:
        response.stream = stream(response.stream, exchange)


class _Followed:
    """A body, with all that it has besides: httpx2 asks it how long the response took."""

    def __init__(self, stream: Any, exchange: ClientExchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Stream(_Followed):
    """A body that ends the span when it is closed, or fails."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            raise
        except BaseException as error:
            self._exchange.finish(error)
            raise

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._exchange.finish()


class _AsyncStream(_Followed):
    """The same for ``AsyncClient``."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            self._exchange.finish(error)
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._exchange.finish()
