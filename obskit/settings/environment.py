"""Reads the variables of other tools as options of obskit, and defaults that depend on the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from obskit.base.resource_attributes import read_attributes
from obskit.settings.errors import ConfigurationError, PartlyUsed, Read, read_value
from obskit.settings.values import number_from, read_names
from obskit.tracing.limits import UNLIMITED, LimitSettings

ZIPKIN = "http://127.0.0.1:9411/api/v2/spans"
LONGEST_TIMEOUT = 3600.0
_FORMATS = {"b3multi": "b3multi", "b3": "b3", "tracecontext": "w3c"}
_STANDS = "a decision that arrives with a request stands"
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": 1.0}


def milliseconds(value: str) -> Any:
    """Read milliseconds as seconds."""
    return number_from(0, float("inf"))(value) / 1000


def resource_attribute(*keys: str) -> Read:
    """Return a reader of the first of ``keys`` present in a list such as ``service.name=orders,service.version=2``."""

    def read(value: str) -> str | None:
        attributes = read_attributes(value)
        return next((attributes[key] for key in keys if attributes.get(key)), None)

    return read


def timeout(value: str) -> Any:
    """Read milliseconds as seconds; 0 means no limit, as in OpenTelemetry."""
    return milliseconds(value) or LONGEST_TIMEOUT


def otel_enabled(value: str) -> bool:
    """Read the negation of a boolean in OpenTelemetry's form, where only ``true`` is true."""
    if value.strip().lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.strip().lower() == "false"


def otel_formats(value: str) -> Any:
    """Read OTEL_PROPAGATORS: return the formats that obskit writes. ``baggage`` is handled apart."""
    names = read_names(value.lower())
    if names == ("none",):
        return names[:0]
    found = [_FORMATS[name] for name in names if name in _FORMATS] or None
    unknown = [name for name in names if name not in _FORMATS and name != "baggage"]
    if unknown:
        known = ", ".join([*_FORMATS, "baggage"])
        raise PartlyUsed(f"OTEL_PROPAGATORS={value!r}: obskit writes {known}, not {', '.join(unknown)}", found)
    return found


def otel_exporters(value: str) -> Any:
    """Read names of OpenTelemetry's exporters; the address for ``zipkin`` comes from its own variable."""
    names = [name.lower() for name in read_names(value)]
    if names == ["zipkin"]:
        return None
    if "none" in names:
        return "none"
    address = os.environ.get("OTEL_EXPORTER_ZIPKIN_ENDPOINT") or ZIPKIN
    return [address if name == "zipkin" else f"otel:{name}" for name in names]


def default_log_mode(_: Mapping[str, str]) -> str:
    """Return ``console`` if standard output is a terminal, else ``json``."""
    try:
        return "console" if sys.stdout.isatty() else "json"
    except Exception:  # closed, replaced by another kind of object, or None
        return "json"


def default_request_log(environ: Mapping[str, str]) -> bool:
    """Return whether this is plain Kubernetes: Cloud Run (Knative) and App Engine log every request themselves."""
    return "KUBERNETES_SERVICE_HOST" in environ and "K_SERVICE" not in environ


def default_response_flush(environ: Mapping[str, str]) -> float:
    """Return the limit (seconds) for platforms that may stop the CPU after a response.

    A process cannot find out whether its CPU is set to be always allocated.
    """
    on_cloud_run = "K_SERVICE" in environ and "KUBERNETES_SERVICE_HOST" not in environ
    return 0.3 if on_cloud_run or "AWS_LAMBDA_FUNCTION_NAME" in environ else 0.0


def default_sample_rate(environ: Mapping[str, str]) -> float:
    """Return the rate that OTEL_TRACES_SAMPLER(_ARG) asks for. Decisions that arrive with requests are always kept."""
    given = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    name = given.removeprefix("parentbased_")
    if not given:
        return 1.0
    if name not in _SAMPLERS:
        known = ", ".join(f"parentbased_{known}" for known in _SAMPLERS)
        raise PartlyUsed(f"OTEL_TRACES_SAMPLER={given!r} is ignored: obskit knows {known}", 1.0)
    rate = _SAMPLERS[name]
    if name == "traceidratio":
        rate = _ratio(environ)
    if given == name:
        raise PartlyUsed(
            f"OTEL_TRACES_SAMPLER={given!r} is read as parentbased_{given}: decisions that arrive with a request stand",
            rate,
        )
    return rate


def _ratio(environ: Mapping[str, str]) -> float:
    share = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
    try:
        rate: float = read_value("OTEL_TRACES_SAMPLER_ARG", number_from(0, 1), share)
    except ValueError as error:
        raise PartlyUsed(f"{error}; it is ignored", 1.0) from None
    return rate


_COUNT, _LENGTH = "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
_LIMITS = {
    "attributes": ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", _COUNT),
    "events": ("OTEL_SPAN_EVENT_COUNT_LIMIT",),
    "links": ("OTEL_SPAN_LINK_COUNT_LIMIT",),
    "event_attributes": ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", _COUNT),
    "link_attributes": ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", _COUNT),
    "length": ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", _LENGTH),
    "other_length": (_LENGTH,),
}
"""Variables that limit the size of a span. If a limit has several, the first that is set applies."""

_read_limit = number_from(0, UNLIMITED, int)


def span_limits(environ: Mapping[str, str], notes: list[str]) -> LimitSettings:
    """Return the limits; a value that is not a number is ignored, with a message in ``notes``."""
    found: dict[str, int] = {}
    for name, variables in _LIMITS.items():
        for variable in reversed(variables):
            value = _limit(variable, environ, notes)
            if value is not None:
                found[name] = value
    return LimitSettings(**found)


def _limit(variable: str, environ: Mapping[str, str], notes: list[str]) -> int | None:
    text = environ.get(variable, "").strip()
    try:
        return None if not text else read_value(variable, _read_limit, text)
    except ConfigurationError as error:
        if (note := f"{error}; it is ignored") not in notes:
            notes.append(note)
        return None
