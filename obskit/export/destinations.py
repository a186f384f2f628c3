"""What the ``exporter`` option may say, and the exporter each form stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obskit.export.exporter import Exporter

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from obskit.export.zipkin_span import Convert

FORMS = "an http(s):// URL of a Zipkin server, otel:NAME, console, none, or an OpenTelemetry SpanExporter"
_ZIPKIN_PATH = "/api/v2/spans"
_GROUP = "opentelemetry_traces_exporter"

Build = Callable[[], Exporter]


def parse(target: Any, convert: Callable[[], Convert], resource: Callable[[], Resource]) -> tuple[str, Build] | None:
    """Return a destination's display name and what builds its exporter; None for ``none``.

    Raises ValueError, saying what is wrong, where ``target`` is none of FORMS. ``convert`` and ``resource`` are
    asked when the exporter is built.
    """
    if not isinstance(target, str):
        return _instance(target, resource)
    if target == "none":
        return None
    if target == "console":
        return "console", lambda: _console(convert())
    if target.startswith("otel:"):
        load = _named(target.removeprefix("otel:"))
        return target, lambda: _bridge(load()(), resource)
    return _zipkin(target, convert)


def _instance(target: Any, resource: Callable[[], Resource]) -> tuple[str, Build]:
    if not callable(getattr(target, "export", None)) or not callable(getattr(target, "shutdown", None)):
        raise ValueError(f"it is neither text nor an OpenTelemetry SpanExporter but {type(target).__name__}")
    return f"otel:{type(target).__name__}", lambda: _bridge(target, resource)


def _zipkin(url: str, convert: Callable[[], Convert]) -> tuple[str, Build]:
    parts = urlsplit(url)  # raises ValueError for a malformed host
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"its scheme {parts.scheme!r} is unknown" if parts.scheme else "it has no scheme")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.port == 0:
        raise ValueError("port 0 cannot be connected to")
    if not (parts.path + parts.query).isascii() or not url.isprintable() or " " in url:
        raise ValueError("its path has characters that a URL cannot; percent-encode them")
    if parts.path in ("", "/"):
        parts = parts._replace(path=_ZIPKIN_PATH)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return shown.geturl(), lambda: _zipkin_http(parts.geturl(), convert())


def _zipkin_http(url: str, convert: Convert) -> Exporter:
    from obskit.export.zipkin_http import ZipkinHttpExporter

    return ZipkinHttpExporter(url, convert)


def _console(convert: Convert) -> Exporter:
    from obskit.export.console import ConsoleExporter

    return ConsoleExporter(convert)


def _bridge(exporter: Any, resource: Callable[[], Resource]) -> Exporter:
    from obskit.export.otel import OtelExporter

    return OtelExporter(exporter, resource)


def _named(name: str) -> Callable[[], Any]:
    """Find an installed OpenTelemetry exporter by its entry point, and return what loads its class."""
    from importlib.metadata import entry_points

    found = entry_points(group=_GROUP)
    if name not in found.names:
        raise ValueError(f"of OpenTelemetry's exporters only {', '.join(sorted(found.names))} are installed")
    return found[name].load
