"""Log lines as programs print them: Cloud Logging's JSON, other JSON with the usual names, or plain text.

Source: Cloud Logging's structured logging (special fields of ``jsonPayload``) and its ``LogEntry``, which
``gcloud logging read --format=json`` writes as a list.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from obskit.collector.intake.text_lines import joined, severity_in, without_escapes
from obskit.collector.intake.zipkin import Rejected
from obskit.collector.lines.line import Line, severity_of
from obskit.zipkin.ids import normalise_trace_id
from obskit.zipkin.json_v2 import without_surrogates

_PREFIX = "logging.googleapis.com/"
_TIME = ("time", "timestamp", "@timestamp", "ts", "asctime", "receiveTimestamp")
_SEVERITY = ("severity", "level", "levelname", "log.level")
_MESSAGE = ("message", "msg", "textPayload", "event")
_LOGGER = ("logger", "logger_name", "name")
_TRACE = (f"{_PREFIX}trace", "trace", "trace_id", "traceId")
_SPAN = (f"{_PREFIX}spanId", "spanId", "span_id")
_KEY = (f"{_PREFIX}insertId", "insertId")
_SOURCE = (f"{_PREFIX}sourceLocation", "sourceLocation")
_STACK = ("stack_trace", "exception", "exc_info", "traceback")
_RESOURCE_SERVICE = ("service_name", "container_name", "module_id", "function_name", "job")
_LARGEST = 2**62
MOST_LINES = 200_000  # of a message: three bytes are a line, which takes half a kilobyte of memory
_LONGEST_NAME = 255  # characters of a name that all lines of a message share
_UNKNOWN = "unknown"
_is_moment = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\d*\s*(?:(Z|z|UTC)|([+-])(\d\d):?(\d\d))?"
).fullmatch
_is_span_id = re.compile("(?!0{16})[0-9a-f]{16}").fullmatch
_has_long_number = re.compile(rb"\d{19}").search


def read_lines(body: bytes, service: str = "", instance: str = "") -> Iterator[Line]:
    """Return the lines of a message: a list of entries, or one line of JSON or of text after the other.

    Raises Rejected after MOST_LINES, and for nothing else.
    """
    for number, line in enumerate(_lines(body, shared_name(service), shared_name(instance)), 1):
        check_lines(number)
        yield line


def shared_name(text: str) -> str:
    """Return the name of a service, an instance or a logger, cut: each line of the message gets a copy."""
    return text[:_LONGEST_NAME]


def check_lines(lines: int) -> None:
    """Raise Rejected for more than MOST_LINES."""
    if lines > MOST_LINES:
        raise Rejected(413, f"over {MOST_LINES} lines; send fewer in one message")


def _lines(body: bytes, service: str, instance: str) -> Iterator[Line]:
    now = int(time.time() * 1_000_000)
    entries = _list(body)
    if entries is not None:
        yield from (_entry(entry, service, instance, now) for entry in entries)
        return
    text: list[str] = []
    for raw in body.split(b"\n"):
        entry = _object(raw) if raw.lstrip()[:1] == b"{" else None
        if entry is None:
            text.append(without_escapes(raw.decode("utf-8", "replace").rstrip("\r")))
            continue
        yield from _texts(text, service, instance, now)
        text = []
        yield _entry(entry, service, instance, now)
    yield from _texts(text, service, instance, now)


def _texts(lines: list[str], service: str, instance: str, now: int) -> Iterator[Line]:
    for text in joined(lines):
        severity = severity_of(severity_in(text)) or 0
        yield Line(time=now, severity=severity, service=service or _UNKNOWN, instance=instance, message=text)


def _list(body: bytes) -> list[dict[str, Any]] | None:
    """Return the entries of a JSON list, None for anything else: a line of text may begin with a bracket."""
    found = _json(body) if body.lstrip()[:1] == b"[" else None
    return found if isinstance(found, list) and all(isinstance(item, dict) for item in found) else None


def _object(raw: bytes) -> dict[str, Any] | None:
    found = _json(raw)
    return found if isinstance(found, dict) else None


def _json(raw: bytes) -> Any:
    """Return a JSON value that can be written again; None for what is no JSON."""
    try:
        if not _has_long_number(raw):
            return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # strict JSON it is not, but programs also write NaN, half a surrogate pair and broken UTF-8
    try:
        text = raw.decode("utf-8", "replace")
        return without_surrogates(json.loads(text, parse_int=_integer, parse_constant=str))
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 19 else digits


def _entry(entry: dict[str, Any], service: str, instance: str, now: int) -> Line:
    payload = entry.pop("jsonPayload", None)
    fields = {**entry, **payload} if isinstance(payload, dict) else entry
    of_context = _take_mapping(fields, "serviceContext")
    of_resource = _labels(_take_mapping(fields, "resource"))
    named = of_context.pop("service", "") or next((of_resource[n] for n in _RESOURCE_SERVICE if n in of_resource), "")
    if of_context:
        fields["serviceContext"] = of_context
    severity = _severity(_take(fields, _SEVERITY))
    trace, span = _trace(fields), _span(fields)
    return Line(
        time=_moment(fields) or now,
        severity=severity,
        service=str(service or named or _UNKNOWN),
        instance=str(instance or of_resource.get("pod_name") or of_resource.get("instance_id") or ""),
        logger=str(_take(fields, _LOGGER, str) or ""),
        message=_message(fields),
        trace=trace,
        span=span,
        source=_source(fields),
        key=str(_take(fields, _KEY, str) or ""),
        fields={key.removeprefix(_PREFIX): value for key, value in fields.items()},
    )


def _take(fields: dict[str, Any], names: tuple[str, ...], kind: type | tuple[type, ...] = object) -> Any:
    """Return the first of some fields that is there and of a kind, taken out; None without."""
    for name in names:
        if isinstance(fields.get(name), kind) and fields.get(name) is not None:
            return fields.pop(name)
    return None


def _take_mapping(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return _take(fields, (name,), dict) or {}


def _labels(resource: dict[str, Any]) -> dict[str, Any]:
    labels = resource.get("labels")
    return labels if isinstance(labels, dict) else {}


def _message(fields: dict[str, Any]) -> str:
    message = _take(fields, _MESSAGE)
    text = message if isinstance(message, str) else "" if message is None else msgspec.json.encode(message).decode()
    stack = _take(fields, _STACK, str)
    return without_escapes(f"{text}\n{stack}" if stack and stack not in text else text)


def _severity(value: Any) -> int:
    if isinstance(value, str):
        return severity_of(value) or 0
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    python_level = {10: 100, 20: 200, 25: 300, 30: 400, 40: 500, 50: 600, 60: 700}
    return python_level.get(value // 5 * 5, 0) if value < 100 else min(value // 100 * 100, 800)


def _trace(fields: dict[str, Any]) -> str:
    for name in _TRACE:
        value = fields.get(name)
        if isinstance(value, str):
            try:
                trace = normalise_trace_id(value.rpartition("/")[2].lower())
            except ValueError:
                continue
            del fields[name]
            return trace
    return ""


def _span(fields: dict[str, Any]) -> str:
    for name in _SPAN:
        value = fields.get(name)
        if isinstance(value, str) and _is_span_id(value.lower()):
            del fields[name]
            return value.lower()
    return ""


def _source(fields: dict[str, Any]) -> str:
    place = _take(fields, _SOURCE, dict) or {}
    file, line, function = (str(place.get(name) or "") for name in ("file", "line", "function"))
    return f"{file}{':' * bool(line)}{line}" + (f" ({function})" if function else "")


# --- times -----------------------------------------------------------------------------------------------


def _moment(fields: dict[str, Any]) -> int:
    """Return the time of an entry in microseconds, 0 without one."""
    seconds, nanos = fields.pop("timestampSeconds", None), fields.pop("timestampNanos", 0)
    if isinstance(seconds, (int, str)):
        fields["timestamp"] = {"seconds": seconds, "nanos": nanos}
    for name in _TIME:
        if moment := moment_of(fields.get(name)):
            del fields[name]
            return moment
    return 0


def moment_of(value: Any) -> int:
    """Return epoch microseconds: from RFC 3339, seconds and nanos, or a number of seconds, ms, µs or ns; 0 if none."""
    try:
        if isinstance(value, dict):
            return _within(int(value["seconds"]) * 1_000_000 + int(value.get("nanos") or 0) // 1000)
        if isinstance(value, str):
            return _within(_from_text(value.strip()))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _within(_from_number(value))
    except (ValueError, OverflowError, KeyError, TypeError):
        pass
    return 0


def _from_text(text: str) -> int:
    found = _is_moment(text)
    if not found:
        return _from_number(float(text))
    day, clock, fraction, utc, sign, hours, minutes = found.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}")
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        moment = moment.replace(tzinfo=timezone(offset if sign == "+" else -offset))
    elif utc:
        moment = moment.replace(tzinfo=timezone.utc)
    # Without a zone it is local time: such lines come from this machine, as a rule.
    return int(moment.timestamp()) * 1_000_000 + int((fraction or "").ljust(6, "0")[:6])


def _from_number(number: float) -> int:
    """By its size: seconds have ten digits for the next centuries."""
    for largest, factor in ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1)):
        if number < largest:
            return int(number * factor)
    return int(number // 1_000)


def _within(microseconds: int) -> int:
    return microseconds if 0 < microseconds < _LARGEST else 0
