"""Where one of Google's REST APIs is, and whether our credentials may go there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_LOCAL = frozenset(["localhost", "127.0.0.1", "::1"])


class Endpoint(NamedTuple):
    """The URL before ``/v2/...``. ``anonymous`` says that no credentials are sent there."""

    address: str
    anonymous: bool


def find_endpoint(variable: str, default: str, environ: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that the environment's ``variable`` names, else ``default``. Raises ValueError.

    Credentials never travel in the clear; a server on this machine gets them only if a key file was named.
    """
    text = environ.get(variable) or default
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError(f"{variable} is {text!r}, which is not the http(s):// URL of a server")
    if "@" in parts.netloc:
        raise ValueError(f"{variable} must hold no user or password: that server takes Google's credentials")
    local = parts.hostname in _LOCAL and not environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return Endpoint(text.rstrip("/"), parts.scheme == "http" or local)
