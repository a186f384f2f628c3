"""Orders of the demo: the spans that each must produce, waiting for their traces, and a trace printed as a tree."""

from __future__ import annotations

from collections import Counter
from http.client import HTTPException
from time import monotonic, sleep
from typing import TypeVar
from urllib.request import ProxyHandler, build_opener

import msgspec

from obskit.cli.demo_services import DemoError, Service
from obskit.collector.pages.show import duration
from obskit.collector.tree import Row, arrange, extent, service_of
from obskit.zipkin.model import Span


def tree(trace: list[Span]) -> str:
    """Return a trace as text, a line a span, children indented: service, kind, name, duration, error."""
    rows = arrange(trace)
    width = max(len(_label(row)) for row in rows)
    head = f"trace {trace[0].trace_id}, {len(trace)} spans, {duration(extent(trace).duration)}"
    return "\n".join(
        [head, *(f"  {_label(row):<{width}}  {duration(row.span.duration):>9}{_end(row)}" for row in rows)]
    )


def _label(row: Row) -> str:
    span = row.span
    return f"{'  ' * row.depth}{service_of(span)}  {(span.kind or 'local').lower()} {span.name}"


def _end(row: Row) -> str:
    tags = row.span.tags
    return "".join(f"  {key}={tags[key]}" for key in ("http.status_code", "error") if key in tags)


ORDERS = {"pasta": 200, "curry": 200, "fugu": 502, "soup": 200}
"""The dishes that are ordered, each with the status that service a answers: there is no recipe for fugu."""

# Spans: one for each call received and each call made, for the bar's query, and for both sides of the till's queue.
_SERVED = Counter(a=4, b=2, c=1, d=2, e=1)
_FAILED = Counter(a=2, b=2, c=1)  # an order without a dish gets no drink and no bill
_TIMEOUT = 20.0  # seconds
_LOOK = 0.1
_open = build_opener(ProxyHandler({})).open

Trace = list[Span]
T = TypeVar("T")


def order(services: dict[str, Service], dish: str) -> Counter[str]:
    """Order a dish and return how many spans each service makes for it.

    Raises DemoError for an unexpected answer or none; it names a service that has ended.
    """
    try:
        status = services["a"].get(f"/order/{dish}", {})
    except (OSError, HTTPException) as error:
        problem = f"service a does not answer: {error}"
    else:
        if status == ORDERS[dish]:
            return _SERVED if status == 200 else _FAILED
        problem = f"service a answered {status}, not {ORDERS[dish]}, to an order of {dish}"
    sleep(_LOOK)  # a dying service closes its sockets before its process has ended
    for service in services.values():
        service.check()
    raise DemoError("\n".join([problem, *(service.output() for service in services.values())]))


def await_traces(collector: str, count: int, expected: Counter[str]) -> list[Trace]:
    """Wait for ``count`` traces with the ``expected`` spans of each service in the collector, and return them.

    Raises DemoError, which says what is missing, after a time.
    """
    deadline = monotonic() + _TIMEOUT
    while True:
        traces = _read(f"{collector}/api/v2/traces?limit={10 * count}", list[Trace])
        found = Counter(service_of(span) for trace in traces for span in trace)
        if len(traces) == count and found == expected:
            return traces
        if monotonic() > deadline:
            raise DemoError(_difference(len(traces), count, found, expected))
        sleep(_LOOK)


def longest(trace: Trace, *, leaf: bool = False) -> Span:
    """Return the span that took longest, of all or of those without children."""
    parents = {span.parent_id for span in trace} if leaf else set[str | None]()
    return max((span for span in trace if span.id not in parents), key=lambda span: span.duration or 0)


def services(collector: str) -> list[str]:
    """Return the names of the services that the collector knows."""
    return _read(f"{collector}/api/v2/services", list[str])


def edges(traces: list[Trace]) -> list[tuple[str, str]]:
    """Return the calls between services, sorted: pairs of a parent's service and its child's, if they differ."""
    found = set()
    for trace in traces:
        owners = {span.id: service_of(span) for span in trace}
        found |= {(owners[span.parent_id], service_of(span)) for span in trace if span.parent_id in owners}
    return sorted((caller, called) for caller, called in found if caller != called)


def _read(url: str, kind: type[T]) -> T:
    with _open(url, timeout=10) as answer:
        return msgspec.json.decode(answer.read(), type=kind)


def _difference(traces: int, count: int, found: Counter[str], expected: Counter[str]) -> str:
    names = sorted(expected | found)
    spans = ", ".join(f"{name} {found[name]} of {expected[name]}" for name in names if found[name] != expected[name])
    of_spans = f"; spans of service {spans}" if spans else ""
    return f"after {_TIMEOUT:.0f} s the collector has {traces} of {count} traces{of_spans}"
