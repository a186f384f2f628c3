"""Keeping to the API's limits: it refuses a whole batch for one span that does not.

Source: google.devtools.cloudtrace.v2 (trace.proto), and Cloud Trace's "Quotas and limits". Lengths are of UTF-8.
"""

from __future__ import annotations

from typing import Any

from obskit.export.cloud_trace.additions import times
from obskit.zipkin.model import Span

_NAME = 128
_KEY = 128
_VALUE = 256
_ATTRIBUTES = 32
_ANNOTATIONS = 32
_DAY = 24 * 3600 * 1_000_000
_OLDEST = 14 * _DAY
_NEWEST = 3 * _DAY
_KEPT_FIRST = ("/", "error", "endpoint.")


class Unacceptable(ValueError):
    """A span that the API refuses whatever is cut off."""


def check(span: Span, now: int) -> None:
    """Raise Unacceptable where the API would refuse ``span`` at ``now`` (microseconds since the epoch)."""
    start, end = times(span)
    if not span.id.strip("0"):
        raise Unacceptable("a span's id is zero")
    if not start:
        raise Unacceptable(f"span {span.id} has no timestamp")
    if start < now - _OLDEST or end > now + _NEWEST:
        raise Unacceptable(f"span {span.id} is more than 14 days old, or ends more than 3 days ahead")


def fit(made: dict[str, Any]) -> None:
    """Cut a Span in JSON form where it is too long, and have it say so."""
    made["displayName"] = _text(made["displayName"]["value"], _NAME)
    made["attributes"] = _attributes(made["attributes"]["attributeMap"])
    if "timeEvents" in made:
        made["timeEvents"] = _events(made["timeEvents"]["timeEvent"])
    if "status" in made:
        made["status"]["message"] = _text(made["status"]["message"], _VALUE)["value"]


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    """Return those that there is room for. A key that is too long is no key of anybody's: its attribute is left out."""
    kept = [key for key in given if key and len(key if key.isascii() else _bytes(key)) <= _KEY]
    if len(kept) > _ATTRIBUTES:
        kept = sorted(kept, key=lambda key: not key.startswith(_KEPT_FIRST))[:_ATTRIBUTES]
    texts = {_whole(key): {"stringValue": _text(given[key]["stringValue"]["value"], _VALUE)} for key in kept}
    dropped = {"droppedAttributesCount": len(given) - len(texts)} if len(texts) < len(given) else {}
    return {"attributeMap": texts, **dropped}


def _events(given: list[dict[str, Any]]) -> dict[str, Any]:
    kept = given[:_ANNOTATIONS]
    for event in kept:
        event["annotation"]["description"] = _text(event["annotation"]["description"]["value"], _VALUE)
    dropped = {"droppedAnnotationsCount": len(given) - len(kept)} if len(kept) < len(given) else {}
    return {"timeEvent": kept, **dropped}


def _text(value: str, most: int) -> dict[str, Any]:
    """Return a TruncatableString of ``most`` bytes at most, cut between two characters."""
    if len(value) <= most and value.isascii():
        return {"value": value}
    data = _bytes(value)
    kept = data[:most].decode("utf-8", "ignore")
    cut = len(data) - len(kept.encode())
    return {"value": kept, "truncatedByteCount": cut} if cut else {"value": kept}


def _whole(text: str) -> str:
    return text if text.isascii() else _bytes(text).decode()


def _bytes(text: str) -> bytes:
    """Return UTF-8, with ``?`` for the half of a surrogate pair."""
    return text.encode("utf-8", "replace")
