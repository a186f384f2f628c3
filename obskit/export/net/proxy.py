"""The HTTP proxy that the environment names for a server."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from obskit.base.failures import tell
from obskit.export.net.http_message import read_head, send_request
from obskit.export.net.url import authority, basic_credentials, is_loopback
from obskit.export.net.wire import Wire


class Proxy(NamedTuple):
    """A proxy's address, and the headers (Proxy-Authorization) that it requires. Its text has no credentials."""

    host: str
    port: int
    headers: dict[str, str]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def tunnel(self, wire: Wire, host: str, port: int) -> None:
        """Open a tunnel through the proxy to a server, over ``wire`` (RFC 9110, 9.3.6).

        Raises OSError or NotHttp.
        """
        target = authority(host, port)
        send_request(wire, "CONNECT", target, target, None, self.headers)
        response = read_head(wire.reader())  # no body follows
        if response.status not in range(200, 300):
            raise ConnectionError(f"{response.status} {response.reason}")


def find_proxy(target: SplitResult) -> Proxy | None:
    """Return the environment's proxy for a server's URL; None if there is none, or it must not be used.

    The variables are those of ``urllib.request``: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in upper or lower case.
    """
    variable = f"{target.scheme}_proxy"
    if is_loopback(target.hostname or "") or variable not in map(str.lower, os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    url = getproxies_environment().get(target.scheme)
    if not url or proxy_bypass(target.netloc.rpartition("@")[2]):
        return None
    proxy = _parse(url)
    if proxy is None:
        message = "%s is not of the form http://host:port: obskit knows no other proxies, and goes to %s without one"
        tell(logging.WARNING, message, variable.upper(), target.hostname)
    return proxy


def _parse(url: str) -> Proxy | None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        return None
    if not host or parts.scheme != "http":
        return None
    credentials = basic_credentials(parts)
    return Proxy(host, port, {"Proxy-Authorization": credentials} if credentials else {})
