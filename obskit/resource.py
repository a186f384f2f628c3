"""Who this process is, in OpenTelemetry's resource terms."""

from __future__ import annotations

import os

from obskit.settings import Settings


def attributes(settings: Settings) -> dict[str, str]:
    """Return the resource attributes that the settings and the operating system give; no look-up is made."""
    found = {
        "service.name": settings.service,
        "service.version": settings.version,
        "deployment.environment.name": settings.environment,
        "host.name": os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME"),
        "process.pid": str(os.getpid()),
    }
    return {key: value for key, value in found.items() if value}
