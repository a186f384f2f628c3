"""Reads and checks all options together, and finds changed options and unknown variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from obskit.base.records import NamedTuple
from obskit.settings.environment import default_request_log, span_limits
from obskit.settings.errors import ConfigurationError, PartlyUsed, Read, read_value, shown
from obskit.settings.options import OPTIONS, Option
from obskit.tracing.limits import LimitSettings

if TYPE_CHECKING:
    from obskit.export.destinations import Destination
    from obskit.tracing.sampling.rules import Rule

_TOO_LONG = "profiler_duration=%s must not be more than profiler_interval=%s (OBSKIT_PROFILER_INTERVAL)"


class Settings(NamedTuple):
    """All options, validated. ``ignored`` has a message for each variable of another tool that could not be used."""

    enabled: bool
    service: str
    version: str | None
    environment: str | None
    exporter: tuple[Destination, ...]
    collector: str | None
    zipkin_encoding: str
    sample_rate: float
    sample_rules: tuple[Rule, ...]
    sample_limit: int | None
    inbound_limit: int | None
    keep_errors: bool
    keep_slow: float | None
    backpressure: bool
    exclude: tuple[str, ...]
    trust_incoming: str | tuple[str, ...]
    propagation: tuple[str, ...]
    propagate_to: tuple[str, ...] | None
    logs: str
    mask_keys: tuple[str, ...]
    request_log: bool
    integrations: tuple[str, ...] | None
    disable: tuple[str, ...]
    opentelemetry: str
    project: str | None
    queue_size: int
    queue_bytes: int
    batch_size: int
    flush_interval: float
    export_timeout: float
    exit_timeout: float
    response_flush: float
    spool: str | None
    spool_bytes: int
    spool_age: float
    spool_write_through: bool
    profiler: str
    profiler_output: str | None
    profiler_hz: float
    profiler_duration: float
    profiler_interval: float
    profiler_heap: bool
    baggage: bool = True
    span_limits: LimitSettings = LimitSettings()
    ignored: tuple[str, ...] = ()


def load(arguments: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: arguments take precedence over ``OBSKIT_*``, these over the variables of other tools.

    An argument that is None counts as not given. Raises ConfigurationError for the first bad option. A bad variable
    of another tool is ignored with a message, as it is not set for obskit alone.
    """
    unknown = sorted(arguments.keys() - {option.name for option in OPTIONS})
    if unknown:
        names = ", ".join(option.name for option in OPTIONS)
        raise ConfigurationError(f"unknown option {unknown[0]!r}; the options are {names}")
    ignored: list[str] = []
    values = {option.name: _value(option, arguments, environ, ignored) for option in OPTIONS}
    if values["request_log"] is None:
        values["request_log"] = default_request_log(environ)
    if values["profiler_duration"] > values["profiler_interval"]:
        raise ConfigurationError(_TOO_LONG % (values["profiler_duration"], values["profiler_interval"]))
    limits = span_limits(environ, ignored)
    baggage = bool(values["propagation"]) and _carries_baggage(arguments, environ)
    return Settings(**values, baggage=baggage, span_limits=limits, ignored=tuple(ignored))


def _carries_baggage(arguments: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Return whether baggage is read and written: unless OTEL_PROPAGATORS is in effect without naming it."""
    if arguments.get("propagation") is not None or environ.get("OBSKIT_PROPAGATION", "").strip():
        return True
    named = environ.get("OTEL_PROPAGATORS", "").lower()
    return not named.strip() or "baggage" in [name.strip() for name in named.split(",")]


def _value(option: Option, arguments: Mapping[str, Any], environ: Mapping[str, str], ignored: list[str]) -> Any:
    if arguments.get(option.name) is not None:
        return read_value(option.name, option.read, arguments[option.name])
    if environ.get(option.variable, "").strip():
        return read_value(option.variable, option.read, environ[option.variable])
    for variable, convert in option.ecosystem:
        value = _foreign(option, variable, convert, environ, ignored)
        if value is not None:
            return value
    try:
        return option.default(environ)
    except PartlyUsed as found:
        ignored.append(str(found))
        return found.value


def _foreign(option: Option, variable: str, convert: Read, environ: Mapping[str, str], ignored: list[str]) -> Any:
    """Return an option's value from another tool's variable; None if that cannot be used."""
    text = environ.get(variable, "")

    def read(text: str) -> Any:
        value = convert(text)
        return None if value is None else option.read(value)

    try:
        return read_value(variable, read, text) if text.strip() else None
    except PartlyUsed as found:
        ignored.append(str(found))
        return None if found.value is None else option.read(found.value)
    except ConfigurationError as error:
        ignored.append(f"{error}; it is ignored")
        return None


_PREFIX = "OBSKIT_"
_OTHER_VARIABLES = {
    "OBSKIT_CLOUDTRACE_ENDPOINT",
    "OBSKIT_CLOUDLOGGING_ENDPOINT",
    "OBSKIT_CLOUDPROFILER_ENDPOINT",
    "OBSKIT_GOOGLE_PROFILER_CPU",
}


def changes(before: Settings, after: Settings) -> dict[str, str]:
    """Return old and new value of each option that differs, without credentials."""
    pairs = zip(Settings._fields, before, after, strict=True)
    differ = [(name, old, new) for name, old, new in pairs if old != new and name != "ignored"]
    return {name: f"{name}: {shown(old)} -> {shown(new)}" for name, old, new in differ}


def unknown_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the unknown ``OBSKIT_*`` variables, each with the most similar known name, or an empty string."""
    known = {option.variable for option in OPTIONS} | _OTHER_VARIABLES
    unknown = [name for name in environ if name.startswith(_PREFIX) and name not in known]
    if not unknown:
        return {}
    from difflib import get_close_matches

    ends = {name.removeprefix(_PREFIX): name for name in known}
    close = [(name, get_close_matches(name.removeprefix(_PREFIX), ends, 1)) for name in unknown]
    return {name: ends[found[0]] if found else "" for name, found in close}
