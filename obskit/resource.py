"""Who this process is, in OpenTelemetry's resource terms."""

from __future__ import annotations

import os
from collections.abc import Mapping

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


def process_tags(settings: Settings) -> dict[str, str]:
    """Return what each span in Zipkin's form says of the process beside the service's name."""
    found = {"service.version": settings.version, "deployment.environment.name": settings.environment}
    return {key: value for key, value in found.items() if value}


_GOOGLE_VARIABLES = ("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_SERVICE", "FUNCTION_TARGET")
_PRODUCT = "/sys/class/dmi/id/product_name"


def in_google_cloud(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is Google Cloud, as far as the environment and the machine's name say; nobody is asked."""
    if environ.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    if any(environ.get(name) for name in _GOOGLE_VARIABLES):
        return True
    try:
        with open(_PRODUCT, encoding="utf-8", errors="replace") as file:
            return file.read(100).startswith("Google")
    except OSError:
        return False
