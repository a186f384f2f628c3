"""Cloud Profiler's endpoint and names of services, for obskit's uploads and for Google's agent.

Source: the API's description (cloudprofiler.googleapis.com, v2).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from obskit.base.failures import tell
from obskit.export.gcp.account import delivering
from obskit.export.gcp.endpoint import ApiEndpoint, find_endpoint
from obskit.tracing.current import attach, detach, suppressed

ENDPOINT_VARIABLE = "OBSKIT_CLOUDPROFILER_ENDPOINT"
_GOOGLE = "https://cloudprofiler.googleapis.com"
_LONGEST_NAME = 255


def find_api(environ: Mapping[str, str]) -> ApiEndpoint:
    """Return the endpoint that OBSKIT_CLOUDPROFILER_ENDPOINT names, else Google's. Raises ValueError."""
    return find_endpoint(ENDPOINT_VARIABLE, _GOOGLE, environ)


def service_name(text: str) -> str:
    """Return ``text`` as a service name that the API accepts: ``[a-z0-9]([-a-z0-9_.]{0,253}[a-z0-9])?``."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-_.")[:_LONGEST_NAME].rstrip("-_.") or "python"
    if name != text:
        tell(logging.INFO, "In Cloud Profiler the service %r is called %r: names there are restricted", text, name)
    return name


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress tracing in the block, and keep log records of Google's libraries from Cloud Logging."""
    token = attach(suppressed())
    try:
        with delivering():
            yield
    finally:
        detach(token)
