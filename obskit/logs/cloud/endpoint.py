"""Where the API is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

GOOGLE = "https://logging.googleapis.com"
_LOCAL = frozenset(["localhost", "127.0.0.1", "::1"])


class Endpoint(NamedTuple):
    """``address`` is a URL, spoken to in JSON over HTTP, or ``host:port``, in gRPC over TLS.

    ``anonymous`` says that no credentials are sent there.
    """

    address: str
    grpc: bool
    anonymous: bool


def parse(text: str | None, environ: Mapping[str, str], key_file: str | None = None) -> Endpoint:
    """Return the endpoint that ``text`` names; Google's for None. Raises ValueError, naming the remedy.

    Credentials never travel in the clear; a server on this machine gets them only if a key file was named.
    """
    text = text or GOOGLE
    grpc = "://" not in text
    parts = urlsplit(f"grpc://{text}" if grpc else text)
    if parts.scheme not in ("grpc", "http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"the Cloud Logging endpoint {text!r} must be host:port (gRPC) or an http(s):// URL")
    if "@" in parts.netloc:
        raise ValueError("the Cloud Logging endpoint must hold no user or password: it takes Google's credentials")
    named = key_file or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    anonymous = parts.scheme == "http" or (parts.hostname in _LOCAL and not named)
    address = f"{parts.netloc}{'' if parts.port else ':443'}" if grpc else text.rstrip("/")
    return Endpoint(address, grpc, anonymous)
