"""Who may talk to the collector, and what browsers may do with its answers.

A page of another origin can make a browser send requests here, also by a name that it has pointed to
127.0.0.1 (DNS rebinding). So the Host header must be one of the collector's names, and a POST must not come from
elsewhere. Programs that send spans are no browsers, and may know the collector by any name: Envoy sends the name of
its cluster. A browser adds an Origin to each POST; one without it takes any Host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from obskit.base.told_losses import TAKES, TAKES_ALL
from obskit.collector.security import HostPolicy, Token

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN_PATHS = ("/health", "/actuator/health")  # an orchestrator's checks have no token, and learn nothing
_SECURITY_HEADERS = {
    b"content-security-policy": b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'; script-src 'self'; connect-src 'self'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}

_HEADERS = "obskit.headers"
_TAKES = (TAKES.encode(), TAKES_ALL.encode())


class Guard:
    """ASGI middleware: refuses foreign hosts, other origins and who does not know the token; adds security headers."""

    def __init__(self, app: ASGIApp, hosts: HostPolicy, token: str | None = None) -> None:
        self._app = app
        self._hosts = hosts
        self._token = Token(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 401 or 403, or hand the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS.items()]
                if scope["method"] == "POST":
                    message["headers"].append(_TAKES)
            await send(message)

        headers = scope[_HEADERS] = _first_values(scope)
        app = self._refusal(scope["method"], scope["path"], headers) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Mapping[str, str]) -> PlainTextResponse | None:
        if "content-length" in headers and "transfer-encoding" in headers:
            # What a proxy in front took for the end of this message may not be ours: the next one may be smuggled in.
            reason = "Content-Length and Transfer-Encoding in one request\n"
            return PlainTextResponse(reason, 400, {"connection": "close"})
        # Without one (HTTP/1.0, as the health checks of some load balancers) it is no browser, whose names may deceive.
        named = "host" in headers and not self._is_ingest(method, headers)
        if named and not self._hosts.allows(headers["host"]):
            reason = "this Host is not allowed; use localhost, or start the collector with --allow-host NAME\n"
            return PlainTextResponse(reason, 403)
        if _is_cross_origin(method, headers):
            return PlainTextResponse("cross-origin requests are not allowed\n", 403)
        if path not in _OPEN_PATHS and not self._token.is_in(headers.get("authorization", "")):
            reason = "send the token as Authorization: Bearer TOKEN, or as the password of http://user:TOKEN@HOST\n"
            return PlainTextResponse(reason, 401, {"www-authenticate": 'Basic realm="obskit collector"'})
        return None

    @staticmethod
    def _is_ingest(method: str, headers: Mapping[str, str]) -> bool:
        return method == "POST" and "origin" not in headers and "sec-fetch-site" not in headers


def headers_of(scope: Scope) -> Mapping[str, str]:
    """Return the headers of a request that was let in; of a repeated one, the first counts."""
    headers: Mapping[str, str] = scope[_HEADERS]
    return headers


def _first_values(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _is_cross_origin(method: str, headers: Mapping[str, str]) -> bool:
    """Return True for a POST of another origin, and for what its pages load, such as an image whose URL is a search."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if method == "POST" and origin is not None:
        return origin not in {f"http://{host}", f"https://{host}"}
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
