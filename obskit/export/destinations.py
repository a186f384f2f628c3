"""The forms of the ``exporter`` option, and the exporter for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from obskit.base.records import NamedTuple
from obskit.export.delivery.exporter import Exporter
from obskit.export.net.url import port_of

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from obskit.export.cloud_trace.exporter import CloudTraceTarget
    from obskit.export.delivery.collector_report import CollectorReport
    from obskit.export.zipkin.translation import Convert

FORMS = (
    "an http(s):// or grpc(s):// URL of a Zipkin server, kafka://BROKERS/TOPIC, cloudtrace://PROJECT, otel:NAME,"
    " console, none, or an OpenTelemetry SpanExporter"
)
_ZIPKIN_PATH = "/api/v2/spans"
_GROUP = "opentelemetry_traces_exporter"
_PACKAGED = ("otlp", "otlp_proto_grpc", "otlp_proto_http", "zipkin", "zipkin_json")  # as opentelemetry-exporter-NAME
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}

Build = Callable[[], Exporter]


class Making(NamedTuple):
    """What an exporter is made with, besides its target.

    ``convert`` and ``resource`` are called when it is built. ``project`` is the Google Cloud project if a URL names
    none; ``zipkin_encoding``, ``json`` or ``proto3``, is for Zipkin over HTTP and Kafka. ``report`` tells
    a Zipkin server what was lost, if that is an obskit collector.
    """

    convert: Callable[[], Convert]
    resource: Callable[[], Resource]
    project: str = ""
    zipkin_encoding: str = "json"
    report: Callable[[], CollectorReport | None] = lambda: None


Plan = Callable[[Making], "tuple[str, Build]"]


class Destination:
    """A destination of spans: a checked ``target``. Destinations with equal targets are equal.

    ``plan``, which ``none`` lacks, returns the displayed name, and a function that builds the exporter.
    """

    def __init__(self, target: Any, plan: Plan | None) -> None:
        self.target = target
        self.plan = plan

    def __eq__(self, other: object) -> bool:
        """Return whether the targets are the same."""
        return isinstance(other, Destination) and (self.target is other.target or bool(self.target == other.target))

    def __hash__(self) -> int:
        """Return the same for all: a target that is the application's exporter need not have a hash."""
        return hash(Destination)

    def __repr__(self) -> str:
        """Return the target's own."""
        return repr(self.target)


def parse(target: Any) -> Destination:
    """Return the destination that a URL, a word or an exporter stands for.

    Raises ValueError, saying what is wrong, where ``target`` is none of FORMS, or needs a package that is missing.
    """
    return Destination(target, _plan(target))


def _plan(target: Any) -> Plan | None:
    if not isinstance(target, str):
        return _instance(target)
    if target == "none":
        return None
    if target == "console":
        return lambda making: ("console", lambda: _console(making.convert()))
    if target.startswith("otel:"):
        make = _named(target.removeprefix("otel:"))
        return lambda making: (target, lambda: _bridge(target, make, making.resource))
    return _server(target)


def _server(url: str) -> Plan:
    if url.startswith("cloudtrace://"):
        return _cloud_trace(url)
    if url.startswith(("grpc://", "grpcs://")):
        return _zipkin_grpc(url)
    if url.startswith("kafka://"):
        return _zipkin_kafka(url)
    return _zipkin(url)


def _require(module: str, distribution: str, extra: str) -> None:
    """Raise ValueError if a package is missing: at the start, not when the first span is sent."""
    from importlib.util import find_spec

    try:
        missing = find_spec(module) is None
    except ImportError:  # nor is the package that it is in
        missing = True
    except ValueError:  # replaced by something that has no specification
        missing = False
    if missing:
        raise ValueError(f"{distribution} is missing: pip install 'obskit[{extra}]'")


def _instance(target: Any) -> Plan:
    if not callable(getattr(target, "export", None)) or not callable(getattr(target, "shutdown", None)):
        raise ValueError(f"it is neither text nor an OpenTelemetry SpanExporter but {type(target).__name__}")
    name = f"otel:{type(target).__name__}"
    return lambda making: (name, lambda: _bridge(name, lambda: target, making.resource))


def _zipkin(url: str) -> Plan:
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"its scheme {parts.scheme!r} is unknown" if parts.scheme else "it has no scheme")
    if not parts.hostname:
        raise ValueError("it names no host")
    port_of(parts)
    if not (parts.path + parts.query).isascii() or not url.isprintable() or " " in url:
        raise ValueError("its path has characters that a URL cannot; percent-encode them")
    if parts.path in ("", "/"):
        parts = parts._replace(path=_ZIPKIN_PATH)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return lambda making: (shown, lambda: _zipkin_http(parts.geturl(), making))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # it says where, and so may show a password
        raise ValueError("its host is malformed") from None


def _zipkin_http(url: str, making: Making) -> Exporter:
    from obskit.export.zipkin.exporters import ZipkinHttpExporter, encoding

    return ZipkinHttpExporter(url, making.convert(), encoding(making.zipkin_encoding), making.report())


def _zipkin_grpc(url: str) -> Plan:
    parts = _split(url)
    if not parts.hostname or port_of(parts) is None:
        raise ValueError("it needs a host and a port, as in grpc://zipkin:9411")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("a gRPC address is a host and a port, nothing else")
    if not url.isprintable() or " " in url:
        raise ValueError("its host has characters that a name cannot have")
    _require("grpc", "grpcio", "grpc")

    def build(making: Making) -> Exporter:
        from obskit.export.zipkin.exporters import ZipkinGrpcExporter

        return ZipkinGrpcExporter(parts.netloc, parts.scheme == "grpcs", making.convert(), making.report())

    return lambda making: (f"{parts.scheme}://{parts.netloc}", partial(build, making))


def _zipkin_kafka(url: str) -> Plan:
    from obskit.export.zipkin.kafka_url import parse_url

    target = parse_url(url)
    _require("confluent_kafka", "confluent-kafka", "kafka")

    def build(making: Making) -> Exporter:
        from obskit.export.zipkin.exporters import encoding
        from obskit.export.zipkin.kafka import ZipkinKafkaExporter

        return ZipkinKafkaExporter(target, making.convert(), encoding(making.zipkin_encoding), making.report())

    return lambda making: (target.shown, partial(build, making))


def _cloud_trace(url: str) -> Plan:
    from obskit.export.cloud_trace.exporter import parse_url

    found = parse_url(url, os.environ)
    _require("google.auth", "google-auth", "gcp")

    def plan(making: Making) -> tuple[str, Build]:
        target = found._replace(project=found.project or making.project)
        return f"cloudtrace://{target.project}", lambda: _cloud_trace_exporter(target, making.convert())

    return plan


def _cloud_trace_exporter(target: CloudTraceTarget, convert: Convert) -> Exporter:
    from obskit.export.cloud_trace.exporter import CloudTraceExporter

    return CloudTraceExporter(target, convert)


def _console(convert: Convert) -> Exporter:
    from obskit.export.console import ConsoleExporter

    return ConsoleExporter(convert)


def _bridge(name: str, make: Callable[[], Any], resource: Callable[[], Resource]) -> Exporter:
    from obskit.export.otel import OtelExporter

    return OtelExporter(name, make, resource)


def _named(name: str) -> Callable[[], Any]:
    """Find an installed OpenTelemetry exporter by its entry point; return a function that loads and makes it."""
    from importlib.metadata import entry_points

    found = entry_points(group=_GROUP)
    name = _of_protocol(found.names) if name == "otlp" else name
    if name not in found.names:
        raise ValueError(f"of OpenTelemetry's exporters {_installed(sorted(found.names))}; {_remedy(name)}")

    def make() -> Any:
        return found[name].load()()

    return make


def _of_protocol(installed: Collection[str]) -> str:
    """Return the exporter that ``otlp`` stands for, by the variables of OpenTelemetry's SDK, else one that is there."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol:
        return _OTLP.get(protocol.strip().lower(), "otlp")
    return next((name for name in ("otlp", *_OTLP.values()) if name in installed), "otlp")


def _installed(names: list[str]) -> str:
    return f"only {', '.join(names)} {'is' if len(names) == 1 else 'are'} installed" if names else "none is installed"


def _remedy(name: str) -> str:
    if name in _PACKAGED:
        return f"pip install opentelemetry-exporter-{name.replace('_', '-')}"
    return "install the package that has it, or name another"
