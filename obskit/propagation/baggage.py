"""W3C Baggage, read from a header into OpenTelemetry's context and written back, by the API's own propagator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from obskit.base.failures import failed
from obskit.propagation.headers import BAGGAGE, sendable
from obskit.tracing.others import BAGGAGE_KEY

LONGEST = W3CBaggagePropagator._MAX_HEADER_LENGTH
"""Characters of a header; of a longer one nothing is read."""

_propagator = W3CBaggagePropagator()
_on = True


def use(on: bool) -> None:
    """Read and write baggage from now on, or leave it alone."""
    global _on  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    _on = on


def entries(text: str, context: Mapping[str, Any]) -> object:
    """Return the baggage of ``context`` plus that of a header, without malformed entries. Never raises."""
    before = context.get(BAGGAGE_KEY)
    try:
        text = _readable(text) if _on else ""
        if text:
            return _propagator.extract({BAGGAGE: text}, Context({BAGGAGE_KEY: before or {}})).get(BAGGAGE_KEY)
    except Exception:
        failed("reading baggage")
    return before


def _readable(text: str) -> str:
    """Return the well-formed entries: OpenTelemetry's API would log a warning with the text of each other one."""
    if len(text) > LONGEST:
        return ""
    return ",".join(entry for entry in text.split(",") if "=" in entry and sendable(entry.strip()))


def header(context: Mapping[str, Any]) -> str:
    """Return the header for the baggage of ``context``; empty without any. Never raises."""
    if not _on or not context.get(BAGGAGE_KEY):
        return ""
    carrier: dict[str, str] = {}
    try:
        _propagator.inject(carrier, Context({BAGGAGE_KEY: context[BAGGAGE_KEY]}))
    except Exception:
        failed("writing baggage")
    found = carrier.get(BAGGAGE, "")
    return found if sendable(found) else ""
