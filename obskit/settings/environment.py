"""What the environment says of an option: other tools' variables as arguments of ours, and defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from obskit.settings.errors import Read, read_value
from obskit.settings.values import number_from, read_names


def milliseconds(value: str) -> Any:
    """Read milliseconds as seconds."""
    return number_from(0, float("inf"))(value) / 1000


def resource_attribute(*keys: str) -> Read:
    """Return what reads the first of ``keys`` that a list such as ``service.name=orders,service.version=2`` has."""

    def read(value: str) -> str | None:
        pairs = (pair.split("=", 1) for pair in value.split(",") if "=" in pair)
        attributes = {key.strip(): unquote(text.strip()) for key, text in pairs}
        return next((attributes[key] for key in keys if attributes.get(key)), None)

    return read


def otel_formats(value: str) -> Any:
    """Keep the formats we inject; ``baggage`` and others concern propagators that are not ours."""
    names = read_names(value)
    if names == ("none",):
        return names[:0]
    known = {"b3multi": "b3multi", "b3": "b3", "tracecontext": "w3c"}
    return [known[name] for name in names if name in known] or None


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


def default_service(_: Mapping[str, str]) -> str:
    """Return the program's name: the script's, or its folder's for ``python -m package``."""
    folder, file = os.path.split((getattr(sys, "argv", None) or [""])[0])  # pathlib costs 10 ms of every start
    stem = os.path.splitext(file)[0]
    name = os.path.basename(folder) if stem == "__main__" else stem
    return name if name and name not in ("-c", "-m") else "python"


def default_sample_rate(environ: Mapping[str, str]) -> float:
    """Return the rate OTEL_TRACES_SAMPLER(_ARG) asks for; a decision that arrives with a request always stands."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    if name == "always_off":
        return 0.0
    if name != "traceidratio":
        return 1.0
    share = environ.get("OTEL_TRACES_SAMPLER_ARG") or "1"
    rate: float = read_value("OTEL_TRACES_SAMPLER_ARG", number_from(0, 1), share)
    return rate
