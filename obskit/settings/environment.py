"""What the environment says of an option: the variables of other tools as options of obskit, and defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from obskit.base.resource_attributes import read_attributes
from obskit.settings.errors import PartlyUsed, Read, read_value
from obskit.settings.values import number_from, read_names

ZIPKIN = "http://127.0.0.1:9411/api/v2/spans"
LONGEST_TIMEOUT = 3600.0
_FORMATS = {"b3multi": "b3multi", "b3": "b3", "tracecontext": "w3c"}
_STANDS = "a decision that arrives with a request stands"
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": 1.0}


def milliseconds(value: str) -> Any:
    """Read milliseconds as seconds."""
    return number_from(0, float("inf"))(value) / 1000


def resource_attribute(*keys: str) -> Read:
    """Return what reads the first of ``keys`` that a list such as ``service.name=orders,service.version=2`` has."""

    def read(value: str) -> str | None:
        attributes = read_attributes(value)
        return next((attributes[key] for key in keys if attributes.get(key)), None)

    return read


def timeout(value: str) -> Any:
    """Read milliseconds as seconds; none at all means that there is no limit, as OpenTelemetry has it."""
    return milliseconds(value) or LONGEST_TIMEOUT


def otel_enabled(value: str) -> bool:
    """Read the opposite of a boolean as OpenTelemetry writes them: only ``true`` is true."""
    if value.strip().lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.strip().lower() == "false"


def otel_formats(value: str) -> Any:
    """Keep the formats we inject; ``baggage`` is always read and written."""
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
    """Read names of OpenTelemetry's exporters; ``zipkin`` alone leaves it to the variable of its address."""
    names = [name.lower() for name in read_names(value)]
    if names == ["zipkin"]:
        return None
    if "none" in names:
        return "none"
    address = os.environ.get("OTEL_EXPORTER_ZIPKIN_ENDPOINT") or ZIPKIN
    return [address if name == "zipkin" else f"otel:{name}" for name in names]


def default_log_mode(_: Mapping[str, str]) -> str:
    """Return ``console`` where a person reads standard output, else ``json``."""
    try:
        return "console" if sys.stdout.isatty() else "json"
    except Exception:  # closed, replaced by something else, or None
        return "json"


def default_request_log(environ: Mapping[str, str]) -> bool:
    """Return whether this is Kubernetes by itself: Cloud Run (Knative) and App Engine log every request."""
    return "KUBERNETES_SERVICE_HOST" in environ and "K_SERVICE" not in environ


def default_response_flush(environ: Mapping[str, str]) -> float:
    """Return the bound where the CPU may stop after a response: nothing tells whether it is set to be always there."""
    return 0.3 if "K_SERVICE" in environ and "KUBERNETES_SERVICE_HOST" not in environ else 0.0


def default_sample_rate(environ: Mapping[str, str]) -> float:
    """Return the rate OTEL_TRACES_SAMPLER(_ARG) asks for; a decision that arrives with a request always stands."""
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
