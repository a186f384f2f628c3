"""From the URL of a storage to a store."""

from __future__ import annotations

from obskit.collector.options import DEFAULTS, Options
from obskit.collector.store.spans import MAX_BYTES, MAX_SPANS, SpanStore


def open_store(
    url: str,
    max_spans: int = MAX_SPANS,
    max_bytes: int = MAX_BYTES,
    max_age: float = float("inf"),
    options: Options = DEFAULTS,
) -> SpanStore:
    """A store from ``memory`` or ``sqlite:///PATH``. Raises ValueError for another URL, StoreError for a bad file."""
    return SpanStore(
        path_of(url),
        max_spans,
        max_bytes,
        max_age,
        strict_trace_id=options.strict_trace_id,
        autocomplete_keys=options.autocomplete_keys,
    )


def path_of(url: str) -> str | None:
    """The path of a file, or None for memory. Raises ValueError."""
    if url == "memory":
        return None
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise ValueError(f"storage is {url!r}; use memory or sqlite:///PATH, such as sqlite:///traces.db")
    return path
