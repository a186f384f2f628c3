"""What the ``exporter`` option may say, and the exporter each form stands for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from obskit.export.delivery.exporter import Exporter
from obskit.export.net.url import port_of

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from obskit.export.zipkin.translation import Convert

FORMS = (
    "an http(s):// or grpc(s):// URL of a Zipkin server, kafka://BROKERS/TOPIC, cloudtrace://PROJECT, otel:NAME,"
    " console, none, or an OpenTelemetry SpanExporter"
)
_ZIPKIN_PATH = "/api/v2/spans"
_GROUP = "opentelemetry_traces_exporter"
_PACKAGED = ("otlp", "otlp_proto_grpc", "otlp_proto_http", "zipkin", "zipkin_json")  # as opentelemetry-exporter-NAME

Build = Callable[[], Exporter]


def parse(
    target: Any,
    convert: Callable[[], Convert],
    resource: Callable[[], Resource],
    project: str = "",
    zipkin_encoding: str = "json",
) -> tuple[str, Build] | None:
    """Return a destination's display name and what builds its exporter; None for ``none``.

    Raises ValueError, saying what is wrong, where ``target`` is none of FORMS. ``convert`` and ``resource`` are
    asked when the exporter is built. ``project`` is Google Cloud's where ``target`` names none; ``zipkin_encoding``,
    ``json`` or ``proto3``, is for Zipkin over HTTP and Kafka.
    """
    if not isinstance(target, str):
        return _instance(target, resource)
    if target == "none":
        return None
    if target == "console":
        return "console", lambda: _console(convert())
    if target.startswith("otel:"):
        make = _named(target.removeprefix("otel:"))
        return target, lambda: _bridge(target, make, resource)
    return _server(target, convert, project, zipkin_encoding)


def _server(url: str, convert: Callable[[], Convert], project: str, zipkin_encoding: str) -> tuple[str, Build]:
    if url.startswith("cloudtrace://"):
        return _cloud_trace(url, project, convert)
    if url.startswith(("grpc://", "grpcs://")):
        return _zipkin_grpc(url, convert)
    if url.startswith("kafka://"):
        return _zipkin_kafka(url, convert, zipkin_encoding)
    return _zipkin(url, convert, zipkin_encoding)


def _require(module: str, distribution: str, extra: str) -> None:
    """Raise ValueError where a package is missing: at the start, not when the first span leaves."""
    from importlib.util import find_spec

    try:
        missing = find_spec(module) is None
    except ImportError:  # nor is the package that it is in
        missing = True
    except ValueError:  # replaced by something that has no specification
        missing = False
    if missing:
        raise ValueError(f"{distribution} is missing: pip install 'obskit[{extra}]'")


def _instance(target: Any, resource: Callable[[], Resource]) -> tuple[str, Build]:
    if not callable(getattr(target, "export", None)) or not callable(getattr(target, "shutdown", None)):
        raise ValueError(f"it is neither text nor an OpenTelemetry SpanExporter but {type(target).__name__}")
    name = f"otel:{type(target).__name__}"
    return name, lambda: _bridge(name, lambda: target, resource)


def _zipkin(url: str, convert: Callable[[], Convert], encoding: str) -> tuple[str, Build]:
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
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return shown.geturl(), lambda: _zipkin_http(parts.geturl(), convert(), encoding)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # it says where, and so may show a password
        raise ValueError("its host is malformed") from None


def _zipkin_http(url: str, convert: Convert, name: str) -> Exporter:
    from obskit.export.zipkin.exporters import ZipkinHttpExporter, encoding

    return ZipkinHttpExporter(url, convert, encoding(name))


def _zipkin_grpc(url: str, convert: Callable[[], Convert]) -> tuple[str, Build]:
    parts = _split(url)
    if not parts.hostname or port_of(parts) is None:
        raise ValueError("it needs a host and a port, as in grpc://zipkin:9411")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("a gRPC address is a host and a port, nothing else")
    if not url.isprintable() or " " in url:
        raise ValueError("its host has characters that a name cannot have")

    _require("grpc", "grpcio", "grpc")

    def build() -> Exporter:
        from obskit.export.zipkin.exporters import ZipkinGrpcExporter

        return ZipkinGrpcExporter(parts.netloc, parts.scheme == "grpcs", convert())

    return f"{parts.scheme}://{parts.netloc}", build


def _zipkin_kafka(url: str, convert: Callable[[], Convert], name: str) -> tuple[str, Build]:
    from obskit.export.zipkin.kafka_url import parse_url

    target = parse_url(url)
    _require("confluent_kafka", "confluent-kafka", "kafka")

    def build() -> Exporter:
        from obskit.export.zipkin.exporters import encoding
        from obskit.export.zipkin.kafka import ZipkinKafkaExporter

        return ZipkinKafkaExporter(target, convert(), encoding(name))

    return target.shown, build


def _cloud_trace(url: str, project: str, convert: Callable[[], Convert]) -> tuple[str, Build]:
    from obskit.export.cloud_trace.exporter import parse_url

    found = parse_url(url, project, os.environ)
    _require("google.auth", "google-auth", "gcp")

    def build() -> Exporter:
        from obskit.export.cloud_trace.exporter import CloudTraceExporter

        return CloudTraceExporter(found, convert())

    return f"cloudtrace://{found.project}", build


def _console(convert: Convert) -> Exporter:
    from obskit.export.console import ConsoleExporter

    return ConsoleExporter(convert)


def _bridge(name: str, make: Callable[[], Any], resource: Callable[[], Resource]) -> Exporter:
    from obskit.export.otel import OtelExporter

    return OtelExporter(name, make, resource)


def _named(name: str) -> Callable[[], Any]:
    """Find an installed OpenTelemetry exporter by its entry point, and return what loads its class and makes one."""
    from importlib.metadata import entry_points

    found = entry_points(group=_GROUP)
    if name not in found.names:
        raise ValueError(f"of OpenTelemetry's exporters {_installed(sorted(found.names))}; {_remedy(name)}")

    def make() -> Any:
        return found[name].load()()

    return make


def _installed(names: list[str]) -> str:
    return f"only {', '.join(names)} {'is' if len(names) == 1 else 'are'} installed" if names else "none is installed"


def _remedy(name: str) -> str:
    if name in _PACKAGED:
        return f"pip install opentelemetry-exporter-{name.replace('_', '-')}"
    return "install the package that has it, or name another"
