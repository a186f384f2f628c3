"""Makes obskit OpenTelemetry's global provider and propagator; earlier ones are kept, later ones are reported."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry import trace as otel

from obskit.base.failures import failed, tell
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.tracer import propagator, provider

_OVERTAKEN = (
    "another OpenTelemetry TracerProvider (%s) was set before obskit.init(): spans made through OpenTelemetry's API go "
    "there, those of obskit's integrations to obskit; call obskit.init() first, or do not set the other, to have all"
)
_TOO_LATE = (
    "obskit is OpenTelemetry's TracerProvider already, so the one that the program has set (%s) gets no spans: attach "
    "its span processors with opentelemetry.trace.get_tracer_provider().add_span_processor(...), or set it before "
    "obskit.init()"
)
_KEPT = (
    "an OpenTelemetry propagator (%s) was set before obskit.init(), and stays: OpenTelemetry's inject() and extract() "
    "use it; obskit's integrations write the formats of the propagation option"
)


def become_global(hooks: ImportHooks) -> None:
    """Become OpenTelemetry's provider and, once the program imports its propagation, its propagator."""
    try:
        current = otel.get_tracer_provider()
    except Exception:  # OTEL_PYTHON_TRACER_PROVIDER names one that cannot be loaded
        failed("asking for OpenTelemetry's TracerProvider")
        return
    if isinstance(current, otel.ProxyTracerProvider):
        otel.set_tracer_provider(provider)
    elif current is not provider:
        tell(logging.WARNING, _OVERTAKEN, type(current).__name__)
        return
    hooks.when_imported("opentelemetry.propagate", _become_propagator)


def tell_of_later_ones(patches: Patches) -> None:
    """Log why a provider that is set from now on gets no spans, as OpenTelemetry's own message gives no reason."""
    patches.wrap(otel, "set_tracer_provider", _set_too_late)


def _set_too_late(set_provider: Any, _: Any, args: Any, kwargs: Any) -> Any:
    done = set_provider(*args, **kwargs)
    given = args[0] if args else kwargs.get("tracer_provider")
    if given is not provider and otel._TRACER_PROVIDER is provider:
        tell(logging.WARNING, _TOO_LATE, type(given).__name__)
    return done


def _become_propagator(module: Any) -> None:
    current = module.get_global_textmap()
    if _is_default(current, module):
        module.set_global_textmap(propagator)
    elif current is not propagator:
        tell(logging.WARNING, _KEPT, type(current).__name__)


def _is_default(current: Any, module: Any) -> bool:
    """Return whether ``current`` is OpenTelemetry's own default, which is recognised by its parts."""
    try:
        return _parts(current) == _parts(module._load_propagators())
    except Exception:  # another version of OpenTelemetry's
        return type(current).__name__ == "CompositePropagator"


def _parts(composite: Any) -> list[type]:
    return [type(composite), *(type(part) for part in composite._propagators)]
