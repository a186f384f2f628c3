"""OTEL_RESOURCE_ATTRIBUTES: a process's service, pod and more (``service.name=orders,k8s.pod.name=$(POD_NAME)``)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"


def resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that the environment gives; of a key that is given again the last value counts."""
    return read_attributes(environ.get(RESOURCE_ATTRIBUTES, ""))


def read_attributes(text: str) -> dict[str, str]:
    """Return the pairs of a comma-separated list of ``key=value``, percent-decoded. Items without ``=`` are ignored."""
    pairs = (pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    return {key.strip(): unquote(value.strip()) for key, value in pairs}
