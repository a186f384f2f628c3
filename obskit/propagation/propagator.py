"""All formats together: reading whatever came in, writing what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from obskit.propagation import b3, cloud_trace_context, mesh, w3c
from obskit.propagation.headers import LOWER, MESH, Get, HeaderNames, Set
from obskit.tracing.current import SPAN_KEY, AnySpan, get_context
from obskit.tracing.propagated import PropagatedSpan, propagated
from obskit.tracing.span import Span

Inject = Callable[[AnySpan, Set], None]

FORMATS: dict[str, Inject] = {"b3multi": b3.inject_multi, "b3": b3.inject_single, "w3c": w3c.inject}
"""The formats that can be injected, by the names of the ``propagation`` option."""

_FIELDS = {
    "b3multi": {"X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled", "X-B3-Flags"},
    "b3": {"b3"},
    "w3c": {"traceparent", "tracestate"},
}


def extract(get: Get, names: HeaderNames) -> PropagatedSpan | None:
    """Return the remote parent a message names: B3 first, then W3C, then Google's; None for a new trace."""
    return b3.extract(get, names) or w3c.extract(get, names) or cloud_trace_context.extract(get, names)


def read(headers: Mapping[str, str], names: HeaderNames) -> tuple[PropagatedSpan | None, dict[str, str] | None]:
    """Return the remote parent and the mesh headers of a message.

    One look at the keys tells which of our twenty names are there at all; most requests have few or none.
    """
    present = names.all.intersection(headers)
    if not present:
        return None, None
    meshed = None if names.mesh_names.isdisjoint(present) else mesh.extract(headers, names, present)
    return extract(headers.get, names), meshed


class Propagator(TextMapPropagator):
    """Reads every known format and writes those chosen, in order. Also OpenTelemetry's global propagator."""

    def __init__(self, formats: Sequence[str] = ("b3multi",)) -> None:
        self.use(formats)

    def use(self, formats: Sequence[str]) -> None:
        """Inject ``formats`` (keys of FORMATS) from now on."""
        self.formats = tuple(formats)
        self._injects = tuple(FORMATS[name] for name in formats)
        self._fields = {field for name in formats for field in _FIELDS[name]}

    def inject_span(self, span: AnySpan, set_header: Set) -> None:
        """Write the headers by which the receiver continues ``span``."""
        for inject in self._injects:
            inject(span, set_header)

    # opentelemetry.propagators.textmap.TextMapPropagator

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return ``context`` with what ``carrier`` says as its current span and mesh headers."""
        base = get_context() if context is None else context

        found = {name: _joined(getter.get(carrier, name)) for name in LOWER.all}
        parent, meshed = read({name: value for name, value in found.items() if value is not None}, LOWER)
        values = {SPAN_KEY: parent, mesh.MESH_KEY: meshed}
        return Context({**base, **{key: value for key, value in values.items() if value}})

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write the current span of ``context`` to ``carrier``."""
        context = get_context() if context is None else context
        span = context.get(SPAN_KEY)
        own = span if isinstance(span, Span) else propagated(span)
        headers = mesh.of(context).copy()
        self.inject_span(own, headers.__setitem__)
        for name, value in headers.items():
            setter.set(carrier, name, value)

    @property
    def fields(self) -> set[str]:
        """The headers ``inject`` may write."""
        return self._fields | set(MESH)


def _joined(values: Iterable[str] | None) -> str | None:
    """Return a repeated header as HTTP joins it (RFC 9110, 5.2): conflicting contexts then read as malformed."""
    values = list(values or ())
    return ",".join(values) if values else None
