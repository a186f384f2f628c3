"""Converts a line of JSON, as the formatter writes it, to a LogEntry of the API, as agents do with standard output.

Source: google.logging.v2.LogEntry and google.logging.type.HttpRequest in their JSON form, and the special fields of
Cloud Logging's agents. The API refuses a whole request for one entry with a field of the wrong type, so types are
checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from obskit.logs.jsonline import MAX_BYTES

Entry = dict[str, Any]
"""A LogEntry in JSON form, without ``logName`` and ``resource``, which a request sets for all of its entries."""

_PREFIX = "logging.googleapis.com/"
_MAX_LABELS = 64
_MAX_LABEL_KEY = 512
_MAX_LABEL = 64_000
_MAX_INSERT_ID = 256
_MAX_LOG_NAME = 511
_MAY_WEIGH_TOO_MUCH = MAX_BYTES // 8
"""Lines up to this length always fit: the worst case, ``1,``, is two bytes in JSON and thirteen in protobuf."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_DURATION = re.compile(r"\d{1,9}(\.\d{1,9})?s")
_INT64 = range(-(2**63), 2**63)


def to_entry(line: bytes, project: str) -> Entry:
    """Return the LogEntry of a line. Raises msgspec.DecodeError if it is not a JSON object."""
    payload = _decode(line)
    entry: Entry = {"severity": payload.pop("severity", "DEFAULT"), "timestamp": payload.pop("time", None)}
    trace = payload.pop(_PREFIX + "trace", "")
    if trace:
        entry["trace"] = trace if trace.startswith("projects/") else f"projects/{project}/traces/{trace}"
        entry["spanId"] = payload.pop(_PREFIX + "spanId", None)
        entry["traceSampled"] = payload.pop(_PREFIX + "trace_sampled", None)
    entry["sourceLocation"] = payload.pop(_PREFIX + "sourceLocation", None)
    entry["insertId"] = str(payload.pop(_PREFIX + "insertId", ""))[:_MAX_INSERT_ID]
    entry["operation"] = _shaped(payload, _PREFIX + "operation", "operation_", _OPERATION)
    entry["httpRequest"] = _shaped(payload, "httpRequest", "httpRequest_", _HTTP_REQUEST)
    entry["labels"] = _labels(payload)
    entry["jsonPayload"] = payload if len(line) <= _MAY_WEIGH_TOO_MUCH else _fit(payload)
    return {key: value for key, value in entry.items() if value is not None and value != ""}


def log_id(name: str) -> str:
    """Return ``name`` as a LOG_ID: letters, digits and ``_-.``, other characters replaced by ``-``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:_MAX_LOG_NAME] or "python"


def _labels(payload: Entry) -> dict[str, str] | None:
    """Return the labels, truncated to the API's limits; labels above its maximum number stay in the payload."""
    labels = payload.pop(_PREFIX + "labels", None)
    if not isinstance(labels, dict):
        return None
    items = [(key[:_MAX_LABEL_KEY], str(value)[:_MAX_LABEL]) for key, value in labels.items()]
    if len(items) > _MAX_LABELS:
        payload["labels_"] = dict(items[_MAX_LABELS:])
    return dict(items[:_MAX_LABELS])


# Typed messages: fields of the right type are moved there, others stay in the payload


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _status(value: Any) -> int:
    number = int(_int64(value))
    if number not in range(1000):
        raise ValueError
    return number


def _int64(value: Any) -> str:
    number = int(value)
    if isinstance(value, bool | float) or number not in _INT64:
        raise ValueError
    return str(number)


def _duration(value: Any) -> str:
    """Return a Duration: text such as ``0.25s``, or a number of seconds."""
    text = f"{value:.9f}s" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    if not _DURATION.fullmatch(text):
        raise ValueError
    return text


_Shape = dict[str, Callable[[Any], Any]]
_OPERATION: _Shape = {"id": _text, "producer": _text, "first": _flag, "last": _flag}
_HTTP_REQUEST: _Shape = {
    **dict.fromkeys(("requestMethod", "requestUrl", "userAgent", "remoteIp", "serverIp", "referer", "protocol"), _text),
    **dict.fromkeys(("requestSize", "responseSize", "cacheFillBytes"), _int64),
    **dict.fromkeys(("cacheLookup", "cacheHit", "cacheValidatedWithOriginServer"), _flag),
    "status": _status,
    "latency": _duration,
}


def _shaped(payload: Entry, key: str, rest_key: str, shape: _Shape) -> Entry | None:
    """Move the message ``key`` out of the payload; leave fields of the wrong type there, under ``rest_key``."""
    given = payload.pop(key, None)
    if given is None:
        return None
    if not isinstance(given, dict):
        payload[rest_key] = given
        return None
    taken = {name: _take(shape, name, value) for name, value in given.items()}
    good = {name: value for name, value in taken.items() if value is not None}
    rest = {name: value for name, value in given.items() if name not in good}
    if rest:
        payload[rest_key] = rest
    return good or None


def _take(shape: _Shape, name: str, value: Any) -> Any:
    """Return a field in the form of its message; None if it has no such field or the value does not fit."""
    try:
        return shape[name](value)
    except (KeyError, TypeError, ValueError):
        return None


# Size


def _fit(payload: Entry) -> Entry:
    """Return a payload within the API's size limit: a number takes eleven bytes there, so large arrays become text."""
    if _weight(payload) <= MAX_BYTES:
        return payload
    texts: Entry = {key: payload.pop(key) for key in ("message", "stack_trace", "logger", "thread") if key in payload}
    return {**texts, "fields": msgspec.json.encode(payload).decode(), "truncated": True}


def _weight(value: Any) -> int:
    """Return the approximate size of a value as google.protobuf.Value, in bytes."""
    if isinstance(value, str):
        return 6 + (len(value) if value.isascii() else len(value.encode()))
    if isinstance(value, dict):
        return 12 + sum(12 + len(key.encode()) + _weight(item) for key, item in value.items())
    if isinstance(value, list):
        return 12 + sum(_weight(item) for item in value)
    return 13
