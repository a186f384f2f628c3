"""Every option in one table: its name, where it may come from, how it is read, and what it means."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from obskit.instrumentation.targets import TARGET
from obskit.propagation.propagator import FORMATS
from obskit.tracing.redaction import DEFAULT_KEYS
from obskit.tracing.sampling.rules import HIGHEST_LIMIT, Rule, read_rules

# A URL's user and password, and all from its query on: nobody can say where a password ends.
_SECRET = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=\?).+", re.DOTALL)
_LONGEST_SHOWN = 200
_ZIPKIN_ENCODINGS = ("json", "proto3")
_LOG_MODES = ("json", "console", "cloud", "inherit", "off")
_PROFILERS = ("auto", "google", "builtin", "off")
_TRUE = frozenset(["1", "true", "yes", "on"])
_FALSE = frozenset(["0", "false", "no", "off"])


# A comma between exporters, not one inside a URL.
_BETWEEN = re.compile(r",(?=\s*(?:[a-z]+://|otel:|(?:console|none)\s*(?:,|$)))")


class ConfigurationError(ValueError):
    """An option has a value that cannot be used. The message names the option, the value and the remedy."""


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


Read = Callable[[Any], Any]
"""Turns a value, given as an argument or as text, into the option's type; raises ValueError saying what it must be."""


class Option(NamedTuple):
    """One row of the table.

    ``ecosystem`` names other tools' variables in the order they are asked, each with what turns its text into an
    argument. ``default`` is called with the environment.
    """

    name: str
    read: Read
    default: Callable[[Mapping[str, str]], Any]
    meaning: str
    ecosystem: Sequence[tuple[str, Read]] = ()

    @property
    def variable(self) -> str:
        """The option's own environment variable."""
        return f"OBSKIT_{self.name.upper()}"


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return text in _TRUE


def _not(value: Any) -> bool:
    return not _boolean(value)


def _text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be text that is not blank")
    return value.strip() if value else None


def _service(value: Any) -> str:
    text = _text(value)
    if text is None:
        raise ValueError("must be text that is not blank")
    return text


def _number(lowest: float, highest: float, kind: type = float) -> Read:
    def read(value: Any) -> Any:
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        truncated = isinstance(value, float) and number != value
        if number is None or truncated or isinstance(value, bool) or not lowest <= number <= highest:
            raise ValueError(f"must be a{'n integer' if kind is int else ' number'} from {lowest} to {highest}")
        return number

    return read


def _names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, bytes) or not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise ValueError("must be a list of names, or text with commas between them")
    return tuple(item.strip() for item in items if item.strip())


def _formats(value: Any) -> tuple[str, ...]:
    names = _names(value)
    if not set(names) <= FORMATS.keys():
        raise ValueError(f"must be a list of {', '.join(FORMATS)}")
    return names


def _hosts(value: Any) -> tuple[str, ...]:
    names = _names(value)
    if not all(map(TARGET.fullmatch, names)):
        raise ValueError("must be a list of hosts such as orders, *.internal, 10.0.0.7:8080, [::1]: no scheme, no path")
    return names


def _log_mode(value: Any) -> str:
    if value not in _LOG_MODES:
        raise ValueError(f"must be one of {', '.join(_LOG_MODES)}")
    if value == "cloud" and not _installed("google-cloud-logging"):
        raise ValueError("needs google-cloud-logging: pip install 'obskit[gcp]'")
    return str(value)


def _profiler(value: Any) -> str:
    if value not in _PROFILERS:
        raise ValueError(f"must be one of {', '.join(_PROFILERS)}")
    return str(value)


def _folder(value: Any) -> str | None:
    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def _request_log(value: Any) -> bool | None:
    return None if value == "auto" else _boolean(value)


def _installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _integrations(value: Any) -> tuple[str, ...] | None:
    from obskit.integrations import TARGETS

    if value is None:
        return None
    names = _names(value)
    unknown = sorted(set(names) - TARGETS.keys())
    if unknown:
        raise ValueError(f"names {', '.join(unknown)}, which is not one of {', '.join(sorted(TARGETS))}")
    return names


def _disable(value: Any) -> tuple[str, ...]:
    return _integrations(value) or ()


def _exporters(value: Any) -> tuple[Any, ...]:
    from obskit.export.destinations import FORMS, parse

    if isinstance(value, str):
        value = [item.strip(", ") for item in _BETWEEN.split(value)]
    targets = tuple(value) if isinstance(value, list | tuple) else (value,)
    try:
        for target in targets:
            parse(target, lambda: None, lambda: None)  # type: ignore[arg-type, return-value]
    except ValueError as error:
        raise ValueError(f"must be {FORMS}, or a list of them ({error})") from None
    return targets


def _zipkin_encoding(value: Any) -> str:
    name = value.strip() if isinstance(value, str) else value
    if name not in _ZIPKIN_ENCODINGS:
        raise ValueError(f"must be one of {', '.join(_ZIPKIN_ENCODINGS)}")
    return str(name)


# What other tools' variables say, as arguments of ours


def _milliseconds(value: str) -> Any:
    return _number(0, float("inf"))(value) / 1000


def _resource_attribute(*keys: str) -> Read:
    def read(value: str) -> str | None:
        pairs = (pair.split("=", 1) for pair in value.split(",") if "=" in pair)
        attributes = {key.strip(): unquote(text.strip()) for key, text in pairs}
        return next((attributes[key] for key in keys if attributes.get(key)), None)

    return read


def _otel_formats(value: str) -> Any:
    """Keep the formats we inject; ``baggage`` and others concern propagators that are not ours."""
    names = _names(value)
    if names == ("none",):
        return names[:0]
    known = {"b3multi": "b3multi", "b3": "b3", "tracecontext": "w3c"}
    return [known[name] for name in names if name in known] or None


def _as_given(value: str) -> str:
    return value


_RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
_TOO_LONG = "profiler_duration=%s must not be more than profiler_interval=%s (OBSKIT_PROFILER_INTERVAL)"


def _default_log_mode(_: Mapping[str, str]) -> str:
    """Return ``console`` where a person reads standard output, else ``json``."""
    try:
        return "console" if sys.stdout.isatty() else "json"
    except Exception:  # closed, replaced by something else, or None
        return "json"


def _platform_logs_no_requests(environ: Mapping[str, str]) -> bool:
    """Return whether this is Kubernetes by itself: Cloud Run (Knative) and App Engine log every request."""
    return "KUBERNETES_SERVICE_HOST" in environ and "K_SERVICE" not in environ


def _response_flush(environ: Mapping[str, str]) -> float:
    """Return the bound where the CPU may stop after a response: nothing tells whether it is set to be always there."""
    return 0.3 if "K_SERVICE" in environ and "KUBERNETES_SERVICE_HOST" not in environ else 0.0


def _program(_: Mapping[str, str]) -> str:
    """Return the program's name: the script's, or its folder's for ``python -m package``."""
    folder, file = os.path.split((getattr(sys, "argv", None) or [""])[0])  # pathlib costs 10 ms of every start
    stem = os.path.splitext(file)[0]
    name = os.path.basename(folder) if stem == "__main__" else stem
    return name if name and name not in ("-c", "-m") else "python"


def _otel_sample_rate(environ: Mapping[str, str]) -> float:
    """Return the rate OTEL_TRACES_SAMPLER(_ARG) asks for; a decision that arrives with a request always stands."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    if name == "always_off":
        return 0.0
    if name != "traceidratio":
        return 1.0
    rate: float = _read("OTEL_TRACES_SAMPLER_ARG", _number(0, 1), environ.get("OTEL_TRACES_SAMPLER_ARG") or "1")
    return rate


OPTIONS = (
    Option("enabled", _boolean, lambda _: True, "False switches everything off.", [("OTEL_SDK_DISABLED", _not)]),
    Option(
        "service",
        _service,
        _program,
        "The service's name. Default: the program's.",
        [
            ("OTEL_SERVICE_NAME", _as_given),
            (_RESOURCE, _resource_attribute("service.name")),
            ("K_SERVICE", _as_given),
            ("GAE_SERVICE", _as_given),
        ],
    ),
    Option(
        "version",
        _text,
        lambda _: None,
        "The service's version.",
        [
            (_RESOURCE, _resource_attribute("service.version")),
            ("K_REVISION", _as_given),
            ("GAE_VERSION", _as_given),
        ],
    ),
    Option(
        "environment",
        _text,
        lambda _: None,
        "Where it runs, such as `prod`.",
        [(_RESOURCE, _resource_attribute("deployment.environment.name", "deployment.environment"))],
    ),
    Option(
        "exporter",
        _exporters,
        lambda _: ("http://127.0.0.1:9411/api/v2/spans",),
        "Where spans go: a URL, an OpenTelemetry SpanExporter, or a list of them.",
        [("OTEL_EXPORTER_ZIPKIN_ENDPOINT", _as_given)],
    ),
    Option(
        "zipkin_encoding",
        _zipkin_encoding,
        lambda _: "json",
        "How spans go to Zipkin over HTTP and Kafka: `json`, or the smaller `proto3`.",
    ),
    Option(
        "sample_rate",
        _number(0, 1),
        _otel_sample_rate,
        "The share of new traces that is recorded, 0 to 1.",
    ),
    Option(
        "sample_rules",
        read_rules,
        lambda _: (),
        "Other shares for some traces, by path, method and more: a list of mappings, or JSON. The first match decides.",
    ),
    Option(
        "sample_limit",
        _number(0, HIGHEST_LIMIT, int),
        lambda _: None,
        "How many new traces a second a process records at most.",
    ),
    Option(
        "inbound_limit",
        _number(0, HIGHEST_LIMIT, int),
        lambda _: None,
        "How many traces a second it records at most because their callers ask for it.",
    ),
    Option(
        "keep_errors",
        _boolean,
        lambda _: False,
        "Whether requests that fail are kept although their traces are not sampled.",
    ),
    Option(
        "keep_slow",
        _number(0, float("inf")),
        lambda _: None,
        "Requests that take so many seconds are kept although their traces are not sampled.",
    ),
    Option(
        "backpressure",
        _boolean,
        lambda _: True,
        "Whether fewer new traces are recorded while the queue of spans fills up.",
    ),
    Option(
        "propagation",
        _formats,
        lambda _: ("b3multi",),
        "The formats that outbound calls carry, in order: `b3multi`, `b3`, `w3c`.",
        [("OTEL_PROPAGATORS", _otel_formats)],
    ),
    Option(
        "propagate_to",
        _hosts,
        lambda _: None,
        "The hosts whose requests carry them, such as `orders,*.internal,10.0.0.7:8080`. Default: every host.",
    ),
    Option(
        "logs",
        _log_mode,
        _default_log_mode,
        "The form of log lines: `json`, `console`, `cloud` (Cloud Logging's API), `inherit` (yours, with trace fields) "
        "or `off`. Default: `console` on a terminal, else `json`.",
    ),
    Option(
        "mask_keys",
        _names,
        lambda _: DEFAULT_KEYS,
        "Log fields and tags whose names contain one of these are masked. Default: `password`, `token` and the like.",
    ),
    Option(
        "request_log",
        _request_log,
        _platform_logs_no_requests,
        "Whether each request served is logged. Default: `auto`, where the platform does not: plain Kubernetes.",
    ),
    Option(
        "integrations",
        _integrations,
        lambda _: None,
        "The libraries to instrument. Default: every known one that the program imports.",
    ),
    Option("disable", _disable, lambda _: (), "Libraries to leave alone."),
    Option(
        "project",
        _text,
        lambda _: None,
        "The Google Cloud project's id.",
        [("GOOGLE_CLOUD_PROJECT", _as_given), ("PROJECT_ID", _as_given)],
    ),
    Option(
        "queue_size",
        _number(1, 10_000_000, int),
        lambda _: 10_000,
        "How many spans may wait for delivery, for each exporter; later ones are dropped and counted.",
        [("OTEL_BSP_MAX_QUEUE_SIZE", _as_given)],
    ),
    Option(
        "queue_bytes",
        _number(10_000, 2**40, int),
        lambda _: 64 * 1024 * 1024,
        "About how many bytes of spans may wait for delivery, for each exporter.",
    ),
    Option(
        "batch_size",
        _number(1, 100_000, int),
        lambda _: 1000,
        "How many spans go out together at most.",
        [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _as_given)],
    ),
    Option(
        "flush_interval",
        _number(0, 3600),
        lambda _: 0.5,
        "Seconds a span waits for others to go out with.",
        [("OTEL_BSP_SCHEDULE_DELAY", _milliseconds)],
    ),
    Option(
        "export_timeout",
        _number(0.001, 3600),
        lambda _: 10.0,
        "Seconds one attempt to deliver may take.",
        [("OTEL_BSP_EXPORT_TIMEOUT", _milliseconds)],
    ),
    Option("exit_timeout", _number(0, 3600), lambda _: 2.0, "Seconds the program's end may wait for delivery."),
    Option(
        "response_flush",
        _number(0, 60),
        _response_flush,
        "Seconds a response may wait, before it ends, for the delivery of its spans. Default: 0.3 on Cloud Run and "
        "Cloud Functions, which may stop the CPU between requests, else 0.",
    ),
    Option(
        "spool",
        _folder,
        lambda _: None,
        "The folder for spans that cannot be delivered now; without one they wait in memory only.",
    ),
    Option(
        "spool_bytes",
        _number(100_000, 2**50, int),
        lambda _: 100_000_000,
        "How many bytes the spool of a destination may take; beyond, the oldest spans are dropped and counted.",
    ),
    Option("spool_age", _number(1, 10**9), lambda _: 86_400.0, "Seconds after which spooled spans are dropped."),
    Option(
        "spool_write_through",
        _boolean,
        lambda _: False,
        "Whether spans go to the spool before they are sent, so that they survive `kill -9`.",
    ),
    Option(
        "profiler",
        _profiler,
        lambda _: "auto",
        "Which profiler runs: `builtin`, `google` (its agent), `off`, or `auto`: `builtin` in Google Cloud and where "
        "`profiler_output` is given.",
    ),
    Option(
        "profiler_output",
        _folder,
        lambda _: None,
        "The folder for profiles; without one they go to Cloud Profiler.",
    ),
    Option("profiler_hz", _number(1, 1000), lambda _: 100.0, "How many samples a second the profiler takes."),
    Option(
        "profiler_duration",
        _number(0.1, 3600),
        lambda _: 10.0,
        "Seconds the profiler samples in each `profiler_interval`.",
    ),
    Option(
        "profiler_interval",
        _number(0.1, 86400),
        lambda _: 60.0,
        "Seconds from one profile to the next; not less than `profiler_duration`, and where equal, it always samples.",
    ),
    Option(
        "profiler_heap",
        _boolean,
        lambda _: False,
        "Whether there are heap profiles, too; they slow the program down all the time.",
    ),
)


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
        values["request_log"] = _platform_logs_no_requests(environ)
    if values["profiler_duration"] > values["profiler_interval"]:
        raise ConfigurationError(_TOO_LONG % (values["profiler_duration"], values["profiler_interval"]))
    return Settings(**values)


def _value(option: Option, arguments: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    if arguments.get(option.name) is not None:
        return _read(option.name, option.read, arguments[option.name])
    if environ.get(option.variable, "").strip():
        return _read(option.variable, option.read, environ[option.variable])
    for variable, convert in option.ecosystem:
        if environ.get(variable, "").strip():
            value = _read(variable, convert, environ[variable])
            if value is not None:
                return _read(variable, option.read, value)
    return option.default(environ)


def _read(source: str, read: Read, value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ConfigurationError(f"{source}={_shown(value)} {error}") from None


def _shown(value: Any) -> str:
    """Return ``value`` on one line, without the credentials a URL may hold."""
    text = _SECRET.sub("***", repr(value))
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
