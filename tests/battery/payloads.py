"""What obskit and its peers send: the names of the spans in a request body."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec


def inflate(head: str, body: bytes) -> bytes:
    """Return the body as it was before compression; nothing where it is no whole stream."""
    encoding = next(
        (line.split(":")[1].strip() for line in head.lower().splitlines() if "content-encoding:" in line), ""
    )
    try:
        if encoding == "gzip":
            return gzip.decompress(body)
        return zlib.decompress(body) if encoding == "deflate" else body
    except (OSError, EOFError, zlib.error):
        return b""


def span_names(path: str, body: bytes) -> list[str]:
    """Return the names of all spans in a body; none where it holds something else."""
    if not body:
        return []
    if path.endswith("/envelope/"):
        return list(_sentry(body))
    if path.startswith("/v0."):
        return list(_datadog(path, body))
    if path.startswith("/intake/"):
        return list(_elastic(body))
    return [span.get("name", "") for span in json.loads(body)] if path.endswith("/spans") else []


def _sentry(body: bytes) -> Iterator[str]:
    """Each transaction is a span, and holds those below it."""
    for line in body.splitlines():
        found: Any = json.loads(line)
        if found.get("type") == "transaction" and "transaction" in found:
            yield found["transaction"]
            yield from (span.get("description") or span.get("op") or "" for span in found.get("spans", ()))


def _datadog(path: str, body: bytes) -> Iterator[str]:
    if not path.endswith("/traces"):
        return
    found: Any = msgspec.msgpack.decode(body)
    if path.startswith("/v0.5"):
        strings, traces = found
        yield from (strings[span[1]] for trace in traces for span in trace)
    else:
        yield from (span["name"] for trace in found for span in trace)


def _elastic(body: bytes) -> Iterator[str]:
    for line in body.splitlines():
        found = json.loads(line)
        yield from (found[kind]["name"] for kind in ("transaction", "span") if kind in found)
