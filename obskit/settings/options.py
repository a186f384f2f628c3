"""Every option in one table: its name, its sources, its reader, its default and its meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from obskit.base.records import NamedTuple
from obskit.base.redaction import DEFAULT_KEYS
from obskit.base.resource_attributes import RESOURCE_ATTRIBUTES
from obskit.instrumentation.exclusions import HEALTH_PROBES
from obskit.settings.environment import (
    LONGEST_TIMEOUT,
    ZIPKIN,
    default_log_mode,
    default_request_log,
    default_response_flush,
    default_sample_rate,
    milliseconds,
    otel_enabled,
    otel_exporters,
    otel_formats,
    resource_attribute,
    timeout,
)
from obskit.settings.errors import Read
from obskit.settings.service_name import default_service
from obskit.settings.values import (
    number_from,
    one_of,
    read_boolean,
    read_collector,
    read_disable,
    read_exporters,
    read_folder,
    read_formats,
    read_hosts,
    read_integrations,
    read_log_mode,
    read_names,
    read_request_log,
    read_sample_rules,
    read_service,
    read_text,
    read_trust,
)
from obskit.tracing.sampling.limiter import HIGHEST_LIMIT

DEFAULT_EXIT_TIMEOUT = 2.0


class Option(NamedTuple):
    """One row of the table.

    ``ecosystem`` names other tools' variables in order of precedence, each with a reader of its text. ``default`` is
    called with the environment; ``default_said`` describes it in the documentation if the value does not.
    """

    name: str
    read: Read
    default: Callable[[Mapping[str, str]], Any]
    meaning: str
    ecosystem: Sequence[tuple[str, Read]] = ()
    default_said: str = ""

    @property
    def variable(self) -> str:
        """Return the option's own environment variable."""
        return f"OBSKIT_{self.name.upper()}"

    @property
    def shown_default(self) -> str:
        """Return the default as the documentation shows it."""
        value = self.default({}) if not self.default_said else None
        if self.default_said or value is None or value == ():
            return self.default_said or "none"
        if isinstance(value, tuple):
            return f"`{','.join(str(getattr(one, 'target', one)) for one in value)}`"
        return f"`{str(value).lower() if isinstance(value, bool) else value}`"


OPTIONS = (
    Option(
        "enabled",
        read_boolean,
        lambda _: True,
        "False switches everything off.",
        [("OTEL_SDK_DISABLED", otel_enabled)],
    ),
    Option(
        "service",
        read_service,
        default_service,
        "The service's name.",
        [
            ("OTEL_SERVICE_NAME", str),
            (RESOURCE_ATTRIBUTES, resource_attribute("service.name")),
            ("K_SERVICE", str),
            ("GAE_SERVICE", str),
            ("AWS_LAMBDA_FUNCTION_NAME", str),
        ],
        "the application's package, or the program's name",
    ),
    Option(
        "version",
        read_text,
        lambda _: None,
        "The service's version.",
        [
            (RESOURCE_ATTRIBUTES, resource_attribute("service.version")),
            ("K_REVISION", str),
            ("GAE_VERSION", str),
        ],
    ),
    Option(
        "environment",
        read_text,
        lambda _: None,
        "The deployment environment, such as `prod`: a tag of each span.",
        [(RESOURCE_ATTRIBUTES, resource_attribute("deployment.environment.name", "deployment.environment"))],
    ),
    Option(
        "exporter",
        read_exporters,
        lambda _: read_exporters(ZIPKIN),
        "Where spans go: a URL, an OpenTelemetry SpanExporter, or a list of them.",
        [("OTEL_TRACES_EXPORTER", otel_exporters), ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", str)],
    ),
    Option(
        "collector",
        read_collector,
        lambda _: None,
        "An obskit collector for spans, log lines and profiles, such as `http://127.0.0.1:9411`; with an "
        "`exporter`, spans go to both.",
    ),
    Option(
        "zipkin_encoding",
        one_of("json", "proto3"),
        lambda _: "json",
        "The encoding of spans for Zipkin over HTTP and Kafka: `json`, or the smaller `proto3`.",
    ),
    Option(
        "sample_rate",
        number_from(0, 1),
        default_sample_rate,
        "The share of new traces that is recorded, 0 to 1.",
    ),
    Option(
        "sample_rules",
        read_sample_rules,
        lambda _: (),
        "Other rates for some traces, by path, method and more: a list of mappings, or JSON. The first match decides.",
    ),
    Option(
        "sample_limit",
        number_from(0, HIGHEST_LIMIT, int),
        lambda _: None,
        "The maximum of new traces a second that a process records.",
    ),
    Option(
        "inbound_limit",
        number_from(0, HIGHEST_LIMIT, int),
        lambda _: None,
        "The maximum of traces a second that a process records on a caller's request.",
    ),
    Option(
        "keep_errors",
        read_boolean,
        lambda _: False,
        "Whether failed requests are kept even if their traces are not sampled.",
    ),
    Option(
        "keep_slow",
        number_from(0, float("inf")),
        lambda _: None,
        "Keep requests that take at least this many seconds, even if their traces are not sampled.",
    ),
    Option(
        "backpressure",
        read_boolean,
        lambda _: True,
        "Whether to record fewer new traces while the queue of spans fills up.",
    ),
    Option(
        "exclude",
        read_names,
        lambda _: HEALTH_PROBES,
        "Requests that are not traced: paths, in which `*` matches anything, and prefixes of user agents.",
    ),
    Option(
        "trust_incoming",
        read_trust,
        lambda _: "always",
        "Whose trace headers are used: `always`, `never`, or callers in networks such as `10.0.0.0/8`.",
    ),
    Option(
        "propagation",
        read_formats,
        lambda _: ("b3multi",),
        "The header formats of outbound calls, in order: `b3multi`, `b3`, `w3c`.",
        [("OTEL_PROPAGATORS", otel_formats)],
    ),
    Option(
        "propagate_to",
        read_hosts,
        lambda _: None,
        "The hosts that receive trace headers, such as `orders,*.internal,10.0.0.7:8080`; `internal` stands "
        "for loopback, private addresses, single-label and cluster-local names.",
        default_said="every host",
    ),
    Option(
        "logs",
        read_log_mode,
        default_log_mode,
        "The format of log lines: `json`, `console`, `cloud` (Cloud Logging's API), `inherit` (yours, with "
        "trace fields) or `off`.",
        default_said="`console` on a terminal, else `json`",
    ),
    Option(
        "mask_keys",
        read_names,
        lambda _: DEFAULT_KEYS,
        "Log fields and tags whose names contain one of these are masked.",
        default_said="`password`, `token` and the like",
    ),
    Option(
        "request_log",
        read_request_log,
        default_request_log,
        "Whether each served request is logged; `auto`: only if the platform does not, as on plain Kubernetes.",
        default_said="`auto`",
    ),
    Option(
        "integrations",
        read_integrations,
        lambda _: None,
        "The libraries to instrument.",
        default_said="every known one that the program imports",
    ),
    Option("disable", read_disable, lambda _: (), "Libraries to leave alone."),
    Option(
        "opentelemetry",
        one_of("auto", "off"),
        lambda _: "auto",
        "Whether installed OpenTelemetry instrumentations for other libraries are switched on: `auto` or `off`.",
    ),
    Option(
        "project",
        read_text,
        lambda _: None,
        "The Google Cloud project's id.",
        [("GOOGLE_CLOUD_PROJECT", str), ("PROJECT_ID", str)],
    ),
    Option(
        "queue_size",
        number_from(1, 10_000_000, int),
        lambda _: 10_000,
        "The maximum of spans that wait for delivery, for each exporter; further ones are dropped and counted.",
        [("OTEL_BSP_MAX_QUEUE_SIZE", str)],
    ),
    Option(
        "queue_bytes",
        number_from(10_000, 2**40, int),
        lambda _: 64 * 1024 * 1024,
        "The approximate maximum of bytes of spans that wait for delivery, for each exporter.",
    ),
    Option(
        "batch_size",
        number_from(1, 100_000, int),
        lambda _: 1000,
        "The maximum of spans in a batch.",
        [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str)],
    ),
    Option(
        "flush_interval",
        number_from(0, 3600),
        lambda _: 0.5,
        "Seconds that a span waits for others to form a batch.",
        [("OTEL_BSP_SCHEDULE_DELAY", milliseconds)],
    ),
    Option(
        "export_timeout",
        number_from(0.001, LONGEST_TIMEOUT),
        lambda _: 10.0,
        "Seconds that one attempt to deliver may take.",
        [("OTEL_BSP_EXPORT_TIMEOUT", timeout)],
    ),
    Option(
        "exit_timeout",
        number_from(0, 3600),
        lambda _: DEFAULT_EXIT_TIMEOUT,
        "Seconds that the end of the program may wait for delivery.",
        default_said="`2.0`; `5.0` for `cloud` logs, whose client takes up to 2 s to import",
    ),
    Option(
        "response_flush",
        number_from(0, 60),
        default_response_flush,
        "Seconds that a response may wait for the delivery of its spans, on platforms that may stop the CPU after it.",
        default_said="`0.3` on Cloud Run, Cloud Functions and AWS Lambda, else `0`",
    ),
    Option(
        "spool",
        read_folder,
        lambda _: None,
        "The folder for spans that cannot be delivered now; without it they wait in memory only.",
    ),
    Option(
        "spool_bytes",
        number_from(100_000, 2**50, int),
        lambda _: 100_000_000,
        "The maximum size of a destination's spool in bytes; beyond it, the oldest spans are dropped and counted.",
    ),
    Option("spool_age", number_from(1, 10**9), lambda _: 86_400.0, "Seconds after which spooled spans are dropped."),
    Option(
        "spool_write_through",
        read_boolean,
        lambda _: False,
        "Whether spans are written to the spool before they are sent, so that they survive `kill -9`.",
    ),
    Option(
        "profiler",
        one_of("auto", "google", "builtin", "off"),
        lambda _: "auto",
        "The profiler: `builtin`, `google` (its agent), `off`, or `auto`: `builtin` in Google Cloud or with "
        "`profiler_output` or `collector`.",
    ),
    Option(
        "profiler_output",
        read_folder,
        lambda _: None,
        "The folder for profiles; without it and without `collector` they go to Cloud Profiler.",
    ),
    Option("profiler_hz", number_from(1, 1000), lambda _: 100.0, "The profiler's samples a second."),
    Option(
        "profiler_duration",
        number_from(0.1, 3600),
        lambda _: 10.0,
        "Seconds that the profiler samples in each `profiler_interval`.",
    ),
    Option(
        "profiler_interval",
        number_from(0.1, 86400),
        lambda _: 60.0,
        "Seconds from one profile to the next, at least `profiler_duration`; if equal, it always samples.",
    ),
    Option(
        "profiler_heap",
        read_boolean,
        lambda _: False,
        "Whether to take heap profiles, too; these slow the program down all the time.",
    ),
)
