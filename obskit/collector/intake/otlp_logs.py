"""Log records that OpenTelemetry's exporters send, ``POST /v1/logs``, as lines.

Source: ``logs/v1/logs.proto`` and ``collector/logs/v1/logs_service.proto`` (opentelemetry-proto), the specification's
"Logs Data Model", and its semantic conventions of resources, code and exceptions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from obskit.collector.deadline import Deadline
from obskit.collector.intake import protobuf
from obskit.collector.intake.log_entries import check_lines, shared_name
from obskit.collector.intake.otlp import plain_pairs, plain_value
from obskit.collector.intake.otlp_messages import ANY_VALUE, KEY_VALUE, answer, is_json, load_json
from obskit.collector.intake.text_lines import without_escapes
from obskit.collector.intake.zipkin import Message, Rejected
from obskit.collector.lines.line import Line, severity_of
from obskit.collector.lines.store import LineStore
from obskit.collector.metrics import Metrics
from obskit.zipkin.ids import normalise_trace_id

_SEVERITIES = (100, 100, 200, 400, 500, 600)  # of the numbers 1 to 4, 5 to 8, ...
_INSTANCE = ("service.instance.id", "k8s.pod.name", "host.name")
_FILE, _LINE = ("code.file.path", "code.filepath"), ("code.line.number", "code.lineno")
_FUNCTION = ("code.function.name", "code.function")
_MOST = 2**63 - 1


@dataclass
class _Read:
    lines: list[Line] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, record: dict[str, Any], origin: Line, now: int) -> None:
        check_lines(len(self.lines) + len(self.refused) + 1)
        try:
            self.lines.append(_line(record, origin, now))
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            self.refused.append(f"not a log record: {error}")


def store_otlp_logs(store: LineStore, metrics: Metrics, message: Message, deadline: Deadline) -> bytes:
    """Store the records of a message; return the answer, encoded as that was. Raises Rejected or StoreError."""
    in_json, body = is_json(message), message.inflated(metrics, deadline)
    try:
        found = _read(load_json(body) if in_json else protobuf.decode(body, _REQUEST))
    except (ValueError, RecursionError, TypeError, AttributeError, LookupError) as error:
        raise Rejected(400, f"not an OTLP message of logs: {error}") from None
    store.add(found.lines)
    return answer(found.refused, "rejectedLogRecords", in_json=in_json)


def _read(request: dict[str, Any]) -> _Read:
    found, now = _Read(), int(time.time() * 1_000_000)
    for of_resource in request.get("resourceLogs") or ():
        resource = _attributes(of_resource.get("resource") or {})
        service = shared_name(str(resource.get("service.name") or "unknown"))
        instance = shared_name(str(next((resource[name] for name in _INSTANCE if resource.get(name)), "")))
        for of_scope in of_resource.get("scopeLogs") or ():
            scope = of_scope.get("scope") or {}
            origin = Line(service=service, instance=instance, logger=shared_name(str(scope.get("name") or "")))
            for record in of_scope.get("logRecords") or ():
                found.add(record, origin, now)
    return found


def _line(record: dict[str, Any], origin: Line, now: int) -> Line:
    fields = _attributes(record)
    for name in ("eventName", "droppedAttributesCount"):
        if record.get(name):
            fields[f"otel.{name}"] = record[name]
    line = msgspec.structs.replace(
        origin,
        time=_microseconds(record, "timeUnixNano") or _microseconds(record, "observedTimeUnixNano") or now,
        severity=_severity(record),
        message=_message(record, fields),
        trace=_trace(record.get("traceId")),
        span=_span(record.get("spanId")),
        source=_source(fields),
        fields=fields,
    )
    msgspec.json.encode(line)  # an integer of more than 64 bits is refused here, not with all others in the store
    return line


def _attributes(item: dict[str, Any]) -> dict[str, Any]:
    return plain_pairs(item.get("attributes") or ())


def _message(record: dict[str, Any], fields: dict[str, Any]) -> str:
    body = plain_value(record.get("body") or {})
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    stack = fields.pop("exception.stacktrace", "")
    return without_escapes(f"{text}\n{stack}" if stack and str(stack) not in text else text)


def _severity(record: dict[str, Any]) -> int:
    number = record.get("severityNumber") or 0
    if isinstance(number, str) and not number.isdecimal():  # the name of the enum: SEVERITY_NUMBER_WARN2
        return severity_of(number.rpartition("_")[2].rstrip("234")) or 0
    if 1 <= int(number) <= 24:
        return _SEVERITIES[(int(number) - 1) // 4]
    return severity_of(str(record.get("severityText") or "")) or 0


def _microseconds(record: dict[str, Any], name: str) -> int:
    return min(max(int(record.get(name) or 0), 0), _MOST) // 1000


def _trace(value: Any) -> str:
    """Return a trace's id; none for one that makes no sense: the line is worth more than its link."""
    try:
        return normalise_trace_id(str(value or "").lower())
    except ValueError:
        return ""


def _span(value: Any) -> str:
    text = str(value or "").lower()
    return text if len(text) == 16 and text.strip("0") else ""


def _source(fields: dict[str, Any]) -> str:
    file, line, function = (_taken(fields, names) for names in (_FILE, _LINE, _FUNCTION))
    return f"{file}{':' * bool(line)}{line}" + (f" ({function})" if function else "")


def _taken(fields: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((str(fields.pop(name)) for name in names if name in fields), "")


_RECORD = {
    1: protobuf.fixed64("timeUnixNano"),
    2: protobuf.number("severityNumber"),
    3: protobuf.text("severityText"),
    5: protobuf.message("body", ANY_VALUE),
    6: protobuf.messages("attributes", KEY_VALUE),
    7: protobuf.number("droppedAttributesCount"),
    9: protobuf.hexadecimal("traceId"),
    10: protobuf.hexadecimal("spanId"),
    11: protobuf.fixed64("observedTimeUnixNano"),
    12: protobuf.text("eventName"),
}
_SCOPE_LOGS = {
    1: protobuf.message("scope", {1: protobuf.text("name")}),
    2: protobuf.messages("logRecords", _RECORD),
}
_RESOURCE_LOGS = {
    1: protobuf.message("resource", {1: protobuf.messages("attributes", KEY_VALUE)}),
    2: protobuf.messages("scopeLogs", _SCOPE_LOGS),
}
_REQUEST = {1: protobuf.messages("resourceLogs", _RESOURCE_LOGS)}
