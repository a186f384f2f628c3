"""What our uploads to Cloud Profiler and Google's agent share: where the API is, and what a service is called there.

Source: the API's description (cloudprofiler.googleapis.com, v2).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from obskit.base.failures import tell
from obskit.export.gcp.account import delivering
from obskit.tracing.current import attach, detach, suppressed

ENDPOINT_VARIABLE = "OBSKIT_CLOUDPROFILER_ENDPOINT"
LOCAL = frozenset(["localhost", "127.0.0.1", "::1"])
PORTS = {"http": 80, "https": 443}
_GOOGLE = "https://cloudprofiler.googleapis.com"
_LONGEST_NAME = 255


class Endpoint(NamedTuple):
    """Where the API is (a URL), and whether it is used without credentials."""

    url: str
    anonymous: bool


def find_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """Return what OBSKIT_CLOUDPROFILER_ENDPOINT names, else Google's. Raises ValueError, naming the remedy.

    Credentials never travel in the clear; a server on this machine gets them only if a key file was named.
    """
    text = environ.get(ENDPOINT_VARIABLE) or _GOOGLE
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError(f"{ENDPOINT_VARIABLE}={text!r} must be an http(s):// URL without a query")
    if "@" in parts.netloc:
        raise ValueError(f"{ENDPOINT_VARIABLE} must hold no user or password: it takes Google's credentials")
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return Endpoint(text.rstrip("/"), parts.scheme == "http" or (parts.hostname in LOCAL and not named))


def service_name(text: str) -> str:
    """Return ``text`` as the API takes the name of a service: ``[a-z0-9]([-a-z0-9_.]{0,253}[a-z0-9])?``."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-_.")[:_LONGEST_NAME].rstrip("-_.") or "python"
    if name != text:
        tell(logging.INFO, "In Cloud Profiler the service %r is called %r: names there are restricted", text, name)
    return name


@contextmanager
def quietly() -> Iterator[None]:
    """Trace nothing of what is done in this block, and send nothing to Cloud Logging that Google's libraries log."""
    token = attach(suppressed())
    try:
        with delivering():
            yield
    finally:
        detach(token)
