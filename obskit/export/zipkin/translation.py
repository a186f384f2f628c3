"""Translates a span to Zipkin's model. What OpenTelemetry adds is mapped as its Zipkin specification says.

Also converts values of any allowed type to text, and finds the host that the process reports its spans from.

Source: opentelemetry-specification, "OpenTelemetry to Zipkin Transformation".
"""

from __future__ import annotations

import _socket  # as in wire.py
import ipaddress
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec
from opentelemetry.trace import SpanKind, Status, StatusCode

from obskit.base.redaction import Redactor
from obskit.base.values import encodable, is_error
from obskit.tracing.span import Span as RecordedSpan
from obskit.zipkin.model import Annotation, Endpoint, Kind, Span


def value_text(value: Any) -> str:
    """Return what a tag says for ``value``: text as it is, bytes in Base64, nothing for None, JSON for the rest.

    That is what OpenTelemetry's specification says for where there is text only (common/README.md, AnyValue).
    """
    write = _TEXT_OF.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass, which no encoder takes, the plain text
    return number_text(value) if isinstance(value, int | float) else json_text(value)


def number_text(value: float) -> str:
    """Return a number's digits."""
    try:
        return str(value)
    except ValueError:  # more digits than Python prints (sys.set_int_max_str_digits)
        return hex(int(value))


_TEXT_OF: dict[type, Callable[[Any], str]] = {
    int: number_text,
    float: number_text,
    bool: lambda value: "true" if value else "false",
    bytes: lambda value: b64encode(value).decode(),
    type(None): lambda _: "",
}


def json_text(value: Any) -> str:
    """Return ``value`` as JSON; what JSON cannot hold, such as a lone surrogate or a giant number, as its like."""
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, OverflowError, TypeError):
        return msgspec.json.encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {encodable(value_text(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return encodable(value_text(value))


_is_port = re.compile(r"[0-9]{1,5}").fullmatch
_LAST_PORT = 65535
_LONGEST_NAME = 255  # what Zipkin's MySQL schema holds
_IN_A_CLUSTER = re.compile(r"([^.]+)\.[^.]+\.svc(?:\.cluster\.local)?\.?\Z", re.IGNORECASE)
_DOCUMENTATION_NET = ("192.0.2.1", 9)


def local_endpoint(service: str) -> Endpoint:
    """Return the endpoint of ``service`` on this host, without a look-up or a packet.

    A connected datagram socket knows which address it would send from; TEST-NET-1 (RFC 5737) is never reached.
    """
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        probe.connect(_DOCUMENTATION_NET)
        return Endpoint(service.lower(), ipv4=probe.getsockname()[0])
    except OSError:
        return Endpoint(service.lower())
    finally:
        probe.close()


# By value: the hash of an enumeration's member is a call of Python code.
_KINDS: dict[int, Kind] = {
    SpanKind.CLIENT.value: "CLIENT",
    SpanKind.SERVER.value: "SERVER",
    SpanKind.PRODUCER.value: "PRODUCER",
    SpanKind.CONSUMER.value: "CONSUMER",
}

Convert = Callable[[Any], Span]
"""Makes a Zipkin span of what a pipeline carries."""


_NO_TAGS: Mapping[str, str] = MappingProxyType({})


def converter(
    service: str, process_tags: Mapping[str, str] = _NO_TAGS, place: Callable[[], Mapping[str, str]] = dict
) -> Convert:
    """Return what makes Zipkin spans of those that ``service`` recorded on this host.

    ``process_tags`` are what each span says of the process, where it says nothing else under their names. ``place``
    returns what the first span of a trace in this process also says; it is called once, with the first of them.
    """
    local = local_endpoint(service)
    first_tags: Mapping[str, str] | None = None

    def convert(span: RecordedSpan) -> Span:
        nonlocal first_tags
        made = to_zipkin(span, local)
        more = process_tags
        if span.parent_id is None or span.remote_parent:
            if first_tags is None:
                first_tags = {**place(), **process_tags}
            more = first_tags
        if more:
            made.tags = {**more, **made.tags}
        return made

    return convert


def to_zipkin(span: RecordedSpan, local: Endpoint) -> Span:
    """Return ``span`` in Zipkin's terms: microseconds, names in lower case, every tag as text, secrets masked."""
    redactor = span.tracer.provider.redactor
    start, end, tags = span.start_ns, span.end_ns, span.tags
    duration = 0 if end is None else (end - start) // 1000
    kind = _KINDS.get(span.kind._value_)
    made = Span(
        trace_id=span.trace_id,
        parent_id=span.parent_id,
        id=span.span_id,
        kind=kind,
        name=span.name.lower() or None,
        timestamp=start // 1000,
        duration=duration if duration > 0 else 1,
        local_endpoint=local,
        tags=tags,  # type: ignore[arg-type]
    )
    if span.mixed or not redactor.ordinary.issuperset(tags):
        _complete(made, span, redactor)
    if kind is not None:
        remote = span.remote_endpoint
        if remote is not None:
            made.remote_endpoint = _remote(remote[0], remote[1], kind)
        elif kind in _CALLERS or "peer.service" in tags:
            made.remote_endpoint = _peer(made.tags, kind)
    return made


def _complete(made: Span, span: RecordedSpan, redactor: Redactor) -> None:
    """Add what few spans have; to ask each span for each of these would take a third of the time of all this."""
    made.debug = span.debug
    if span.events:
        made.annotations = _annotations(span, redactor)
    tags: Any = _text_tags(span.tags, redactor) if span.mixed else redactor.tags(span.tags)
    if span.status_set:
        tags = _with_status(tags, span.status, redactor)
    if "error" in tags and not is_error(tags["error"]):
        tags = {key: value for key, value in tags.items() if key != "error"}
    made.tags = tags


def _text_tags(tags: Mapping[str, Any], redactor: Redactor) -> Mapping[str, str]:
    """Return tags of any kind masked, and as text."""
    shown = redactor.tags(tags).items()
    return {key: value if type(value) is str else _masked_text(value, redactor) for key, value in shown}


def _masked_text(value: Any, redactor: Redactor) -> str:
    write = _TEXT_OF.get(type(value))
    return value_text(redactor.inside(value)) if write is None else write(value)


def _with_status(tags: dict[str, str], status: Status, redactor: Redactor) -> dict[str, str]:
    """Return ``tags`` and the status. Its description wins over an attribute that is called ``error``."""
    tags = {**tags, "otel.status_code": status.status_code.name}
    if status.status_code is not StatusCode.ERROR:
        return tags
    error = tags.get("error") if is_error(tags.get("error")) else ""
    return {**tags, "error": redactor.error_text(status.description or "") or error or ""}


def _annotations(span: RecordedSpan, redactor: Redactor) -> list[Annotation]:
    """Return the events, each with its attributes as JSON behind its name; the reference sorts and de-duplicates."""
    found = [
        Annotation(moment // 1000, _event_text(redactor, name, attributes) if attributes else redactor.error_text(name))
        for moment, name, attributes, _ in span.events
    ]
    if len(found) == 1:
        return found
    return sorted(set(found), key=lambda annotation: (annotation.timestamp, annotation.value))


def _event_text(redactor: Redactor, name: str, attributes: Any) -> str:
    return json_text({redactor.error_text(name): redactor.attributes(attributes)})


def _remote(host: str, port: int | None, kind: Kind) -> Endpoint | None:
    """Return who is at the other end: a server knows its caller's address, others name whom they call."""
    if kind != "SERVER":
        return _called(host, port)
    addresses = _addresses(host)
    return None if addresses is None else Endpoint(None, *addresses, port)


_PEERS = (
    ("peer.service", ""), ("server.address", "server.port"), ("net.peer.name", "net.peer.port"),
    ("network.peer.address", "network.peer.port"), ("net.sock.peer.addr", "net.sock.peer.port"),
    ("net.peer.ip", "net.peer.port"), ("peer.hostname", ""), ("peer.address", ""), ("db.namespace", ""),
    ("db.name", ""),
)  # fmt: skip
_CALLERS = frozenset(["CLIENT", "PRODUCER"])


def _peer(tags: Mapping[str, str], kind: Kind) -> Endpoint | None:
    """Return whom the first of OpenTelemetry's attributes names; to servers and consumers the others are themselves."""
    for name, port in _PEERS if kind in _CALLERS else _PEERS[:1]:
        host = tags.get(name)
        if host:
            number = tags.get(port, "")
            return _called(host, int(number) if _is_port(number) else None)
    return None


@lru_cache(maxsize=1024)
def _called(host: str, port: int | None) -> Endpoint:
    """Return the endpoint of a host: Zipkin draws a service that it only hears of by its name."""
    addresses = _addresses(host)
    port = port if port is not None and 0 < port <= _LAST_PORT else None  # Zipkin refuses all spans sent with another
    return Endpoint(_service_of(host), port=port) if addresses is None else Endpoint(None, *addresses, port)


def _service_of(host: str) -> str | None:
    """Return the name by which a service is known where its host's name says so: Kubernetes' ``orders.shop.svc``."""
    inside = _IN_A_CLUSTER.match(host)
    name = inside[1] if inside else host.rstrip(".")
    return encodable(name[:_LONGEST_NAME]).lower() or None


@lru_cache(maxsize=1024)
def _addresses(host: str) -> tuple[str | None, str | None] | None:
    """Return an IPv4 and an IPv6 address, one of which is None; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (str(address), None) if address.version == 4 else (None, str(address))
