"""Traces, logs and profiles for Python services, in one line.

>>> import obskit
>>> obskit.init(service="orders")
"""

from __future__ import annotations

from obskit.base.uncollected import uncollected

with uncollected():
    from obskit.api import continue_trace, current_span, flush, init, inject, log_context, shutdown, span, stats
    from obskit.settings import ConfigurationError

__version__ = "0.1.0"

__all__ = [
    "ConfigurationError",
    "continue_trace",
    "current_span",
    "flush",
    "init",
    "inject",
    "log_context",
    "shutdown",
    "span",
    "stats",
]
