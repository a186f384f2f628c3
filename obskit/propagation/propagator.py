"""All formats together: reads every known one, and writes those that the ``propagation`` option names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
from obskit.propagation.carriers import Carrier, Entries, Headers, get_text, has_trace, put, spellings, take_out
from obskit.propagation.headers import (
    B3,
    B3_MULTI,
    B3_NAMES,
    BAGGAGE,
    LOWER,
    MESH,
    TRACE_NAMES,
    W3C,
    Fields,
    Get,
    HeaderNames,
)
from obskit.tracing.current import SPAN_KEY, AnySpan, get_context
from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan, propagated
from obskit.tracing.span import Span

FieldsOf = Callable[[AnySpan], Fields]
"""Returns the headers by which a message's receiver continues a span."""

FORMATS: dict[str, FieldsOf] = {"b3multi": b3.multi, "b3": b3.single, "w3c": w3c.fields}
"""The formats that can be injected, by the names of the ``propagation`` option."""

FIELDS = {
    "b3multi": {*B3_MULTI},
    "b3": {B3},
    "w3c": {*W3C},
}
"""The headers of each format, as it spells them."""
_WRITTEN = {field.lower(): field for fields in FIELDS.values() for field in fields}


def extract(get: Get, names: HeaderNames) -> PropagatedSpan | None:
    """Return the remote parent a message names: B3 first, then W3C, then Google's; None for a new trace."""
    return b3.extract(get, names) or w3c.extract(get, names) or cloud_trace_context.extract(get, names)


def read(headers: Mapping[str, str], names: HeaderNames) -> tuple[PropagatedSpan | None, dict[str, str] | None]:
    """Return the remote parent and the mesh headers of a message.

    Most have no mesh header. Then they have none of W3C's or Google's either, which are mesh headers, too.
    """
    if headers.keys().isdisjoint(names.rare):  # Python iterates over the smaller of two sets
        return b3.extract_multi(headers.get, names), None
    return extract(headers.get, names), mesh.extract(headers, names)


class Propagator(TextMapPropagator):
    """Reads every known format and writes those chosen, in order. Also OpenTelemetry's global propagator."""

    def __init__(self, formats: Sequence[str] = ("b3multi",)) -> None:
        self.use(formats)

    def use(self, formats: Sequence[str]) -> None:
        """Inject ``formats`` (keys of FORMATS) from now on."""
        self.formats = tuple(formats)
        self.fields_of: FieldsOf = _all_fields(self.formats)
        self._fields = {field for name in formats for field in FIELDS[name]}
        self._replaced = TRACE_NAMES if "w3c" in formats else B3_NAMES

    def write(self, span: AnySpan, meshed: Mapping[str, str], headers: Headers) -> None:
        """Write the headers of ``span`` over older ones, and those of the mesh that the caller did not set.

        An older context is removed completely: mixed with the new one it would read as a third, or its ``b3`` win.
        """
        fields, replaced = self.fields_of(span), self._replaced
        direct = headers if isinstance(headers, Entries) else None
        if meshed or (has_trace(headers) if direct is None else direct.have_any(replaced)):
            present = take_out(headers, replaced)
            kept = [(name, value) for name, value in meshed.items() if name not in present and name not in replaced]
            fields = kept + fields
        if direct is None:
            put(headers, fields)
        else:
            direct.add(fields)

    def write_all(self, context: Context, headers: Headers) -> None:
        """Write what ``context`` holds: its span with the mesh's headers, and baggage, also without a span."""
        span, meshed = span_of(context), mesh.for_any_transport(context)
        if span is not NOOP_SPAN:
            self.write(span, meshed, headers)
        elif BAGGAGE in meshed:
            take_out(headers, frozenset([BAGGAGE]))
            put(headers, [(BAGGAGE, meshed[BAGGAGE])])

    # opentelemetry.propagators.textmap.TextMapPropagator

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return ``context`` with what ``carrier`` says as its current span and mesh headers."""
        base = get_context() if context is None else context
        parent, meshed = read(_found(carrier, getter), LOWER)
        if parent is None and meshed is None:
            return base
        values: dict[str, Any] = {key: value for key, value in base.items() if key != mesh.MESH_KEY}
        if parent is not None:
            values[SPAN_KEY] = parent
        if meshed is not None:
            mesh.enter(values, meshed)
        return Context(values)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write the current span of ``context`` to ``carrier``, over an older one."""
        context = get_context() if context is None else context
        self.write_all(context, Carrier(carrier, setter))

    @property
    def fields(self) -> set[str]:
        """The headers ``inject`` may write."""
        return {*self._fields, *MESH, BAGGAGE}


def _all_fields(formats: tuple[str, ...]) -> FieldsOf:
    """Return what returns the headers of all ``formats``: of the only one itself, where there is one."""
    if len(formats) == 1:
        return FORMATS[formats[0]]
    return lambda span: [field for name in formats for field in FORMATS[name](span)]


def span_of(context: Context) -> AnySpan:
    """Return the current span of ``context``, obskit's or another provider's, in the form that is propagated."""
    span = context.get(SPAN_KEY)
    return span if isinstance(span, Span) else propagated(span)


def _found(carrier: Any, getter: Getter[Any]) -> dict[str, str]:
    """Return the known headers, by lower-case name.

    Carriers may distinguish case, and getters may not list their keys: then the spellings that are written are tried.
    """
    spelled = spellings(carrier, getter)
    found = {}
    for name in LOWER.all:
        text = get_text(carrier, getter, spelled.get(name, name))
        if text is None and name not in spelled and name in _WRITTEN:
            text = get_text(carrier, getter, _WRITTEN[name])
        if text is not None:
            found[name] = text
    return found
