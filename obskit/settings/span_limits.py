"""OpenTelemetry's variables that limit the size of a span."""

from __future__ import annotations

from collections.abc import Mapping

from obskit.settings.errors import ConfigurationError, read_value
from obskit.settings.values import number_from
from obskit.tracing.limits import UNLIMITED, Counts

_COUNT, _LENGTH = "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
_VARIABLES = {
    "attributes": ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", _COUNT),
    "events": ("OTEL_SPAN_EVENT_COUNT_LIMIT",),
    "links": ("OTEL_SPAN_LINK_COUNT_LIMIT",),
    "event_attributes": ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", _COUNT),
    "link_attributes": ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", _COUNT),
    "length": ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", _LENGTH),
    "other_length": (_LENGTH,),
}
"""Where a limit has several variables, the first that is set applies."""

_read = number_from(0, UNLIMITED, int)


def span_limits(environ: Mapping[str, str], notes: list[str]) -> Counts:
    """Return the limits; a value that is not a number is ignored, with a message in ``notes``."""
    found: dict[str, int] = {}
    for name, variables in _VARIABLES.items():
        for variable in reversed(variables):
            value = _limit(variable, environ, notes)
            if value is not None:
                found[name] = value
    return Counts(**found)


def _limit(variable: str, environ: Mapping[str, str], notes: list[str]) -> int | None:
    text = environ.get(variable, "").strip()
    try:
        return None if not text else read_value(variable, _read, text)
    except ConfigurationError as error:
        if (note := f"{error}; it is ignored") not in notes:
            notes.append(note)
        return None
