"""All options, read and checked together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from obskit.settings.environment import default_request_log
from obskit.settings.errors import ConfigurationError, read_value
from obskit.settings.options import OPTIONS, Option
from obskit.tracing.sampling.rules import Rule

_TOO_LONG = "profiler_duration=%s must not be more than profiler_interval=%s (OBSKIT_PROFILER_INTERVAL)"


class Settings(NamedTuple):
    """All options, validated."""

    enabled: bool
    service: str
    version: str | None
    environment: str | None
    exporter: tuple[Any, ...]
    zipkin_encoding: str
    sample_rate: float
    sample_rules: tuple[Rule, ...]
    sample_limit: int | None
    inbound_limit: int | None
    keep_errors: bool
    keep_slow: float | None
    backpressure: bool
    propagation: tuple[str, ...]
    propagate_to: tuple[str, ...] | None
    logs: str
    mask_keys: tuple[str, ...]
    request_log: bool
    integrations: tuple[str, ...] | None
    disable: tuple[str, ...]
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


def load(arguments: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: arguments win over ``OBSKIT_*``, which win over the ecosystem's variables.

    An argument that is None counts as not given. Raises ConfigurationError for the first option that is bad.
    """
    unknown = sorted(arguments.keys() - {option.name for option in OPTIONS})
    if unknown:
        names = ", ".join(option.name for option in OPTIONS)
        raise ConfigurationError(f"unknown option {unknown[0]!r}; the options are {names}")
    values = {option.name: _value(option, arguments, environ) for option in OPTIONS}
    if values["request_log"] is None:
        values["request_log"] = default_request_log(environ)
    if values["profiler_duration"] > values["profiler_interval"]:
        raise ConfigurationError(_TOO_LONG % (values["profiler_duration"], values["profiler_interval"]))
    return Settings(**values)


def _value(option: Option, arguments: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    if arguments.get(option.name) is not None:
        return read_value(option.name, option.read, arguments[option.name])
    if environ.get(option.variable, "").strip():
        return read_value(option.variable, option.read, environ[option.variable])
    for variable, convert in option.ecosystem:
        if environ.get(variable, "").strip():
            value = read_value(variable, convert, environ[variable])
            if value is not None:
                return read_value(variable, option.read, value)
    return option.default(environ)
