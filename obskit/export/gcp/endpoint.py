"""The endpoint of one of Google's APIs (Cloud Trace, Cloud Logging, Cloud Profiler), and whether it gets credentials.

One rule applies to all: credentials are never sent unencrypted; a server on this machine, such as an emulator, gets
them only if a key file was named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from obskit.export.net.url import is_loopback, masked, port_of


class ApiEndpoint(NamedTuple):
    """``address`` is the URL before ``/v2/...``, or, where ``grpc``, ``host:port``, spoken to over TLS.

    ``anonymous`` says that no credentials are sent there.
    """

    address: str
    anonymous: bool
    grpc: bool = False


def find_endpoint(variable: str, default: str, environ: Mapping[str, str]) -> ApiEndpoint:
    """Return the endpoint that the environment's ``variable`` names, else ``default``. Raises ValueError."""
    return read_endpoint(variable, environ.get(variable) or default, environ)


def read_endpoint(
    source: str, text: str, environ: Mapping[str, str], key_file: str | None = None, may_be_grpc: bool = False
) -> ApiEndpoint:
    """Return the endpoint at ``text``, a URL or, with ``may_be_grpc``, ``host:port``.

    Raises ValueError, naming ``source``.
    """
    grpc = may_be_grpc and "://" not in text
    parts = _split(f"https://{text}" if grpc else text)
    if "@" in text:
        raise ValueError(f"{source} must hold no user or password: that server takes Google's credentials")
    if parts is None:
        also = ", or host:port for gRPC" if may_be_grpc else ""
        raise ValueError(f"{source}={masked(text)!r} must be the http(s):// URL of a server, without a query{also}")
    local = is_loopback(parts.hostname or "") and not (key_file or environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
    address = f"{parts.netloc}{'' if parts.port else ':443'}" if grpc else text.rstrip("/")
    return ApiEndpoint(address, parts.scheme == "http" or local, grpc)


def _split(url: str) -> SplitResult | None:
    """Return the parts of a server's URL; None where it is none."""
    try:
        parts = urlsplit(url)
        port_of(parts)
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    return parts if usable else None
