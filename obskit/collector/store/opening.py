"""Opens the store that a URL names."""

from __future__ import annotations

from obskit.collector.options import DEFAULTS, Options
from obskit.collector.store.spans import MAX_BYTES, MAX_SPANS, SpanStore
from obskit.collector.store.zipkin_server import SCHEMES, ZipkinStore


def open_store(
    url: str,
    max_spans: int = MAX_SPANS,
    max_bytes: int = MAX_BYTES,
    max_age: float = float("inf"),
    options: Options = DEFAULTS,
) -> SpanStore:
    """Return a store from ``memory``, ``sqlite:///PATH`` or ``zipkin+http://HOST:PORT``.

    Raises ValueError for another URL, StoreError for a bad file.
    """
    if is_server(url):
        return ZipkinStore(url, max_spans, max_bytes, strict_trace_id=options.strict_trace_id)
    return SpanStore(
        path_of(url),
        max_spans,
        max_bytes,
        max_age,
        strict_trace_id=options.strict_trace_id,
        autocomplete_keys=options.autocomplete_keys,
    )


def is_server(url: str) -> bool:
    """Return whether the URL names a Zipkin server, which stores the spans itself."""
    return url.partition("://")[0] in SCHEMES


def where(url: str) -> str:
    """Return where spans are stored: a path, a server's address without password, or ``memory``. Raises ValueError."""
    return ZipkinStore.address(url) if is_server(url) else path_of(url) or url


def path_of(url: str) -> str | None:
    """Return the path of a file, or None for memory. Raises ValueError."""
    if url == "memory":
        return None
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise ValueError(f"storage is {url!r}; use memory, sqlite:///PATH or zipkin+http://HOST:PORT")
    return path
