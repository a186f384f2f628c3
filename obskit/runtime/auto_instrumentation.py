"""The entry points by which ``opentelemetry-instrument`` and OpenTelemetry's API find obskit (see pyproject.toml).

Each acts only on request, as obskit may be installed beside another OpenTelemetry distribution.
"""

from __future__ import annotations

import os
from typing import Any

from obskit.instrumentation.tracer import provider
from obskit.runtime import runtime
from obskit.tracing.provider import TracerProvider

_NAME = "obskit"
_STARTUP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli", "startup")


def tracer_provider() -> TracerProvider:
    """Return the provider, for ``OTEL_PYTHON_TRACER_PROVIDER=obskit``."""
    _start()
    return provider


def distro() -> Any:
    """Return the distro for ``OTEL_PYTHON_DISTRO=obskit``; otherwise one that ``opentelemetry-instrument`` ignores."""
    if os.environ.get("OTEL_PYTHON_DISTRO") != _NAME:
        return None
    from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined, unused-ignore]

    class Distro(BaseDistro):  # type: ignore[misc, unused-ignore]
        def _configure(self, **_: Any) -> None:
            _start()

    return Distro()


def before_instrumenting() -> None:
    """Start obskit under ``obskit run``, whose sitecustomize is hidden by that of ``opentelemetry-instrument``."""
    if _STARTUP in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        _start()


def _start() -> None:
    if runtime.settings is None:
        runtime.init({})
