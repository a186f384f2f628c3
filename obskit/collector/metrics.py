"""What the collector counts about the messages that it receives, named as Zipkin names it.

Source: ``/metrics`` and ``/prometheus`` of zipkin-server 3.6.1.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

_HELP = {
    "messages": "messages whose body came whole",
    "messages_dropped": "messages that were refused or did not come whole",
    "bytes": "bytes of messages, after inflation",
    "spans": "spans that were read",
    "spans_dropped": "spans that were read and could not be stored",
    "message_spans": "spans in the last message that was read",
    "message_bytes": "bytes of the last message, after inflation",
}
_GAUGES = ("message_spans", "message_bytes")


class Metrics:
    """The counts of one transport (``http``, ``grpc``, ...) since the start. Any thread may add to them."""

    def __init__(self, transport: str = "http") -> None:
        self.transport = transport
        self._lock = threading.Lock()
        self._values = dict.fromkeys(_HELP, 0)

    def received(self) -> None:
        """Count a message that came whole."""
        self._add("messages", 1)

    def dropped(self) -> None:
        """Count a message that is refused, or did not come whole."""
        self._add("messages_dropped", 1)

    def inflated(self, size: int) -> None:
        """Count the ``size`` bytes of a message."""
        self._add("bytes", size, "message_bytes")

    def read(self, spans: int) -> None:
        """Count the spans of a message."""
        self._add("spans", spans, "message_spans")

    def lost(self, spans: int) -> None:
        """Count spans that could not be stored."""
        self._add("spans_dropped", spans)

    def snapshot(self) -> dict[str, int]:
        """Return the values of this moment by name."""
        with self._lock:
            return self._values.copy()

    def _add(self, counter: str, amount: int, gauge: str | None = None) -> None:
        with self._lock:
            self._values[counter] += amount
            if gauge is not None:
                self._values[gauge] = amount


class Forwarding(NamedTuple):
    """How many spans one destination was sent, will never be sent, and has not been sent yet."""

    destination: str
    spans: int
    dropped: int
    waiting: int


class Source(NamedTuple):
    """How it stands with something that spans are read from, such as Kafka's topic."""

    transport: str
    component: str  # its name in /health, which is Zipkin's
    connected: bool = False
    lag: int | None = None  # messages that are there and not stored yet, where it is known
    troubles: int = 0  # how often something went wrong
    last_trouble: str = ""


def as_json(transports: Iterable[Metrics], forwarding: Iterable[Forwarding], sources: Iterable[Source] = ()) -> bytes:
    """Return one flat object: ``{"counter.zipkin_collector.spans.http": 3.0, ...}``."""
    values = {
        f"{_type(name)}.zipkin_collector.{name}.{metrics.transport}": float(value)
        for metrics in transports
        for name, value in metrics.snapshot().items()
    }
    for its in forwarding:
        values[f"counter.obskit_forward.spans.{its.destination}"] = float(its.spans)
        values[f"counter.obskit_forward.spans_dropped.{its.destination}"] = float(its.dropped)
        values[f"gauge.obskit_forward.spans_waiting.{its.destination}"] = float(its.waiting)
    for source in sources:
        values[f"gauge.obskit_source.connected.{source.transport}"] = float(source.connected)
        values[f"counter.obskit_source.troubles.{source.transport}"] = float(source.troubles)
        if source.lag is not None:
            values[f"gauge.obskit_source.lag.{source.transport}"] = float(source.lag)
    return msgspec.json.encode(values)


def as_prometheus(transports: Iterable[Metrics]) -> str:
    """Return the text format of Prometheus, version 0.0.4."""
    values = {metrics.transport: metrics.snapshot() for metrics in transports}
    return "".join(
        _family(
            f"zipkin_collector_{name}" + ("" if name in _GAUGES else "_total"),
            about,
            {_label("transport", transport): its[name] for transport, its in values.items()},
        )
        for name, about in _HELP.items()
    )


def _type(name: str) -> str:
    return "gauge" if name in _GAUGES else "counter"


def service_totals(totals: Iterable[tuple[str, int, int]]) -> str:
    """Return calls and failed calls of each service, for Prometheus."""
    rows = [(_label("service", service), calls, errors) for service, calls, errors in totals]
    calls = {label: calls for label, calls, _ in rows}
    errors = {label: errors for label, _, errors in rows}
    return _family("obskit_service_calls_total", "requests and messages that a service took, from spans", calls) + (
        _family("obskit_service_errors_total", "those of them that failed", errors)
    )


def told_losses(by_service: Mapping[str, Mapping[tuple[str, str], int]]) -> str:
    """Return what services say that they lost, for Prometheus."""
    values = {
        ",".join((_label("service", service), _label("items", items), _label("reason", reason))): number
        for service, its in by_service.items()
        for (items, reason), number in its.items()
    }
    return _family("obskit_told_losses_total", "what services say that they lost before it was stored here", values)


def forwarded(forwarding: Iterable[Forwarding]) -> str:
    """Return what each destination was sent, for Prometheus."""
    by_label = {_label("destination", its.destination): its for its in forwarding}
    return (
        _family("obskit_forward_spans_total", "spans sent", {label: its.spans for label, its in by_label.items()})
        + _family(
            "obskit_forward_spans_dropped_total",
            "spans that were refused, or deleted before their turn",
            {label: its.dropped for label, its in by_label.items()},
        )
        + _family(
            "obskit_forward_spans_waiting",
            "spans not sent yet",
            {label: its.waiting for label, its in by_label.items()},
        )
    )


def sources_as_prometheus(sources: Iterable[Source]) -> str:
    """Return the state of each source, for Prometheus."""
    by_label = {_label("transport", source.transport): source for source in sources}
    return (
        _family(
            "obskit_source_connected",
            "1 while a server of the source is connected",
            {label: int(source.connected) for label, source in by_label.items()},
        )
        + _family(
            "obskit_source_lag",
            "messages that are there and not stored yet",
            {label: source.lag for label, source in by_label.items() if source.lag is not None},
        )
        + _family(
            "obskit_source_troubles_total",
            "how often something went wrong; /health has the last",
            {label: source.troubles for label, source in by_label.items()},
        )
    )


def _family(name: str, about: str, values: Mapping[str, int]) -> str:
    """Return one metric of Prometheus by its labels, or nothing."""
    if not values:
        return ""
    kind = "counter" if name.endswith("_total") else "gauge"
    samples = "".join(f"{name}{{{labels}}} {value}\n" for labels, value in values.items())
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n{samples}"


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'
