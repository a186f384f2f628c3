"""Converts spans of Zipkin's v1 model to v2.

In v1 client and server shared one span. Its kind and times are given by annotations such as ``cs`` (client send), its
tags and addresses by "binary annotations", each with the endpoint that recorded it.

Source: ``zipkin2.v1.V1SpanConverter`` (openzipkin/zipkin 3.6.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from obskit.zipkin.decoding import finish_span
from obskit.zipkin.model import Endpoint, Span

_KINDS = {"cs": "CLIENT", "cr": "CLIENT", "sr": "SERVER", "ss": "SERVER", "ms": "PRODUCER", "mr": "CONSUMER"}
_CORE = (*_KINDS, "ws", "wr")
ADDRESSES = ("ca", "sa", "ma")


@dataclass(frozen=True)
class Event:
    """An annotation: a time, a text, and the endpoint that recorded it."""

    timestamp: int
    value: str
    endpoint: Endpoint | None


@dataclass(frozen=True)
class Fact:
    """A binary annotation: a tag; or, under the keys ``ca``, ``sa`` and ``ma``, an address given by its endpoint."""

    key: str
    value: str
    endpoint: Endpoint | None


@dataclass
class V1Span:
    """A span of the v1 model. A time of 0 is unknown."""

    trace_id: str
    id: str
    parent_id: str | None = None
    name: str | None = None
    timestamp: int = 0
    duration: int = 0
    debug: bool = False
    events: list[Event] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


@dataclass
class _Draft:
    """The fields of a v2 span, as far as they are known."""

    endpoint: Endpoint | None = None
    kind: str | None = None
    timestamp: int = 0
    duration: int = 0
    remote: Endpoint | None = None
    shared: bool = False
    annotations: list[tuple[int, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


def convert(source: V1Span) -> list[Span]:
    """Return one span for each service that recorded something. Raises ValueError."""
    conversion = _Conversion(source)
    conversion.read_events()
    conversion.read_facts()
    return [_finished(source, draft) for draft in conversion.drafts]


def _finished(source: V1Span, draft: _Draft) -> Span:
    fields: dict[str, Any] = {
        "trace_id": source.trace_id,
        "id": source.id,
        "parent_id": source.parent_id,
        "name": source.name,
        "kind": draft.kind,
        "timestamp": draft.timestamp if draft.timestamp > 0 else None,
        "duration": draft.duration if draft.duration > 0 else None,
        "local_endpoint": draft.endpoint,
        "remote_endpoint": draft.remote,
        "debug": source.debug,
        "shared": draft.shared,
    }
    return finish_span(fields, draft.annotations, draft.tags)


class _Conversion:
    """The conversion of one v1 span."""

    def __init__(self, source: V1Span) -> None:
        self.drafts = [_Draft()]
        self._source = source
        self._core: dict[str, Event] = {}

    def read_events(self) -> None:
        for event in sorted(self._source.events, key=lambda event: (event.timestamp, event.value)):
            draft = self._draft(event.endpoint)
            if event.value in _CORE and event.endpoint is not None:
                draft.kind = _KINDS.get(event.value, draft.kind)
                self._core[event.value] = event
            else:
                draft.annotations.append((event.timestamp, event.value))
        self._add_missing_start("cs", "cr")
        self._add_missing_start("sr", "ss")
        self._read_call()
        self._read_message()

    def _add_missing_start(self, start: str, end: str) -> None:
        """Set the start of a span that ends with the call: it began with the call."""
        source, ended = self._source, self._core.get(end)
        if start in self._core or not ended or not source.timestamp or not source.duration:
            return
        if source.timestamp + source.duration == ended.timestamp:
            self._core[start] = Event(source.timestamp, start, ended.endpoint)

    def _read_call(self) -> None:
        core, source = self._core, self._source
        cs, cr, sr, ss = (core.get(name) for name in ("cs", "cr", "sr", "ss"))
        if cs and sr:
            self._time(cs, cr)
            client = self._draft(cs.endpoint)
            server = self._other_side(client, "CLIENT", "SERVER", cs, sr)
            server.shared, server.timestamp = True, sr.timestamp
            if ss:
                server.duration = ss.timestamp - sr.timestamp
            if not cr and not source.duration:
                client.duration = 0
        elif cs and cr:
            self._time(cs, cr)
        elif sr and ss:
            self._time(sr, ss)
        else:
            self._read_half_a_call()
        if sr and not cs and (not source.timestamp or (ss and not source.duration)):
            self._draft(sr.endpoint).shared = True

    def _read_half_a_call(self) -> None:
        for draft in self.drafts:
            begin, end = {"CLIENT": ("cs", "cr"), "SERVER": ("sr", "ss")}.get(draft.kind or "", ("", ""))
            if begin in self._core:
                draft.timestamp = self._core[begin].timestamp
            if end in self._core:
                draft.annotations.append((self._core[end].timestamp, end))
        if self._source.timestamp:
            self.drafts[0].timestamp, self.drafts[0].duration = self._source.timestamp, self._source.duration

    def _read_message(self) -> None:
        ms, mr, ws, wr = (self._core.get(name) for name in ("ms", "mr", "ws", "wr"))
        if ms and mr:
            producer = self._draft(ms.endpoint)
            consumer = self._other_side(producer, "PRODUCER", "CONSUMER", ms, mr)
            consumer.shared = True
            consumer.timestamp = (wr or mr).timestamp
            consumer.duration = mr.timestamp - wr.timestamp if wr else consumer.duration
            producer.timestamp, producer.duration = ms.timestamp, ws.timestamp - ms.timestamp if ws else 0
        elif ms:
            self._time(ms, ws)
        elif mr:
            self._time(wr or mr, mr if wr else None)
        else:
            for event in filter(None, (ws, wr)):
                self._draft(event.endpoint).annotations.append((event.timestamp, event.value))

    def read_facts(self) -> None:
        addresses: dict[str, Endpoint | None] = {}
        for fact in sorted(self._source.facts, key=lambda fact: fact.key):
            if fact.key in ADDRESSES:
                addresses[fact.key] = fact.endpoint
            elif fact.key != "lc" or fact.value:
                self._draft(fact.endpoint).tags[fact.key] = fact.value
            else:
                self._draft(fact.endpoint)  # "lc", which marks local work, has the endpoint
        self._read_addresses(*(addresses.get(key) for key in ADDRESSES))

    def _read_addresses(self, client: Endpoint | None, server: Endpoint | None, broker: Endpoint | None) -> None:
        core = self._core
        if (client or server) and not core.keys() & {"cs", "cr", "sr", "ss"}:
            self._read_addresses_alone(client, server)
            return
        served = core.get("sr") or core.get("ss")
        if client and served and client != served.endpoint:
            if _same_service(client, served.endpoint):  # Finagle names the server here too, with the client's port
                client = msgspec.structs.replace(client, service_name=None)
            self._draft(served.endpoint).remote = client if client != Endpoint() else None
        called = core.get("cs") or core.get("cr")
        if server and called:
            self._draft(called.endpoint).remote = server
        for name in ("ms", "mr"):
            if broker and name in core:
                self._draft(core[name].endpoint).remote = broker

    def _read_addresses_alone(self, client: Endpoint | None, server: Endpoint | None) -> None:
        if client and server:
            self._draft(client).remote = server
        elif server:
            self.drafts[0].remote = server
        else:
            self.drafts[0].kind, self.drafts[0].remote = "SERVER", client

    def _time(self, begin: Event, end: Event | None) -> None:
        source, draft = self._source, self._draft(begin.endpoint)
        if source.timestamp and source.duration:
            draft.timestamp, draft.duration = source.timestamp, source.duration
        else:
            draft.timestamp = begin.timestamp
            draft.duration = end.timestamp - begin.timestamp if end else draft.duration

    def _other_side(self, draft: _Draft, kind: str, other_kind: str, one: Event, other: Event) -> _Draft:
        """Return the span of the other service; one that calls itself has two spans."""
        if not _same_service(one.endpoint, other.endpoint):
            return self._draft(other.endpoint)
        draft.kind = kind
        self.drafts.append(_Draft(other.endpoint, other_kind))
        return self.drafts[-1]

    def _draft(self, endpoint: Endpoint | None) -> _Draft:
        """Return the span of the endpoint's service; without an endpoint, the first span."""
        if endpoint is None:
            return self.drafts[0]
        for draft in self.drafts:
            if draft.endpoint is None:
                draft.endpoint = endpoint
                return draft
            if _same_service(draft.endpoint, endpoint):
                return draft
        self.drafts.append(_Draft(endpoint))
        return self.drafts[-1]


def _same_service(one: Endpoint | None, other: Endpoint | None) -> bool:
    return (one and one.service_name) == (other and other.service_name)
