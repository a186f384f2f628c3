"""What an HTTP span says: names, tags and errors, as Brave's HTTP parsers decide them.

Source: brave.http.HttpRequestParser and HttpResponseParser, with two additions: every status is tagged, not only
those outside 2xx, because Cloud Trace filters by it; and 308, which Werkzeug answers, is a redirect too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from obskit.base.patterns import pattern
from obskit.tracing.span import Span

METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"])
_REDIRECTS = frozenset([301, 302, 303, 305, 306, 307, 308])
_NOT_FOUND = 404
_FIRST_ERROR = 400
_FIRST_STATUS = 100
SUCCESSES = {status: str(status) for status in range(_FIRST_STATUS, _FIRST_ERROR)}
"""The tags of statuses that are no errors: to write a number takes as long as to call a function, twice."""
LONGEST_PATH = 2048
_SESSION = pattern(r";(?:jsession|phpsess|session|s)id=[^;/]*", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_PORT = pattern(r":([0-9]{1,5})\Z")


def span_name(method: str) -> str:
    """Return the name of a request's span while nothing more is known: its method, if HTTP knows it."""
    return method if method in METHODS else "HTTP"


@lru_cache(maxsize=1024)
def route_name(method: str, route: str, status: int) -> str:
    """Return the name once routing is over; an empty ``route`` means that nothing matched."""
    method = span_name(method)
    if route:
        return f"{method} {route}"
    if status in _REDIRECTS:
        return f"{method} redirected"
    return f"{method} not_found" if status == _NOT_FOUND else method


def path_tag(path: str) -> str:
    """Return the value of ``http.path``: never empty, cut to a sane length, without the session of a servlet's URL."""
    path = path[:LONGEST_PATH]
    if ";" in path:
        path = _SESSION.sub("", path)
    return path or "/"


def tag_response(span: Span, status: int, error: BaseException | str | None) -> None:
    """Tag how a request ended: ``status`` is 0 where there was no response."""
    if error is None and _FIRST_STATUS <= status < _FIRST_ERROR:
        span.tags["http.status_code"] = SUCCESSES[status]
        return
    if status:
        span.tags["http.status_code"] = str(status)
    if error is not None:
        span.error(error)
    elif status:
        span.tags.setdefault("error", str(status))


def safe_url(url: str) -> tuple[str, str, str]:
    """Return ``url`` without what may be secret (user, query, fragment), its host with port, and its path.

    Linear in the length of ``url``, and never raises: a malformed one gives what can be told.
    """
    bare = url.partition("#")[0].partition("?")[0]
    scheme, _, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    if not host:  # mistyped, such as http:user:password@host/ or http:///user:password@host/
        path = path_tag(bare.rpartition("@")[2])
        return path, "", path
    path = path_tag(slash + path)
    return f"{scheme}://{host}{path}", host, path


Remote = tuple[str, int | None]
"""The other side of a call: its name or address, and its port."""

Parts = tuple[tuple[str, str, int | None], str]
"""A URL as clients keep it: scheme, host and port, and what comes after them. Its whole text is rarely needed."""

_LONGEST_ORIGIN = 300
_MOST_ORIGINS = 1024
_SHORTEST_ORIGIN = len("https://")
Origin = tuple[str, str, Remote | None]
_origins: dict[object, Origin] = {}  # by scheme, host and port, or by their text


def tag_url(span: Span, url: object) -> None:
    """Tag what ``safe_url`` returns, and set the side that ``url`` leads to: its Parts, or anything whose text it is.

    What comes before the path is taken apart once, as a program calls few servers; most paths need nothing done.
    """
    if type(url) is tuple:
        origin, path = url
    else:
        url = url if type(url) is str else str(url)
        end = url.find("/", _SHORTEST_ORIGIN)
        origin, path = url[:end], url[end:]
    known = _origins.get(origin)
    if known is None or path[:1] != "/" or "?" in path or ";" in path or "#" in path or len(path) > LONGEST_PATH:
        known, path = _looked_at(url, path, known)
    tags = span.tags
    text, tags["http.host"], span.remote_endpoint = known
    tags["http.url"] = text + path
    tags["http.path"] = path


def _looked_at(url: Any, target: str, known: Origin | None) -> tuple[Origin, str]:
    """Return what is known of a URL's origin, and its path. ``target`` is what seems to come after the origin."""
    if known is not None and target[:1] == "/":
        return known, path_tag(target.partition("#")[0].partition("?")[0])
    text = url_text(url)
    whole, host, path = safe_url(text)
    scheme = whole.partition(":")[0]
    known = (f"{scheme}://{host}", host, remote_of(scheme, host)) if host else ("", "", None)
    origin = text.removesuffix(target)
    if host and target[:1] == "/" and len(origin) <= _LONGEST_ORIGIN and known[0] == origin:  # nothing that is secret
        if len(_origins) >= _MOST_ORIGINS:
            _origins.clear()
        _origins[url[0] if type(url) is tuple else origin] = known
    return known, path


@lru_cache(maxsize=1024)
def remote_of(scheme: str, host: str) -> Remote | None:
    """Return the host, a name or an address, and the port of a URL's ``host``; None where it has none."""
    port = _PORT.search(host)
    name = (host[: port.start()] if port else host.rstrip(":")).strip("[]")
    return (name, int(port[1]) if port else _PORTS.get(scheme.lower())) if name else None


def url_text(url: Any) -> str:
    """Return the text of a URL, which is its Parts, or anything else that has that text."""
    if type(url) is not tuple:
        return str(url)
    (scheme, host, port), target = url
    return full_url(scheme, host, port, target)


def full_url(scheme: str, host: str, port: int | None, target: str) -> str:
    """Return the URL of a request to ``host`` whose first line names ``target`` (RFC 9112, section 3.2).

    A target is a path, a whole URL (sent to a proxy), or something else that is no part of a URL.
    """
    if not target.startswith("/") and "://" in target:
        return target
    host = host.rpartition("@")[2]  # http.client takes what stands before it for a part of the host's name
    netloc = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if port and port != _PORTS.get(scheme):
        netloc = f"{netloc}:{port}"
    return f"{scheme}://{netloc}{target if target.startswith('/') else ''}"


def decoded(path: str) -> str:
    """Return a path whose UTF-8 bytes PEP 3333 shows as Latin-1; one that is neither, as it is."""
    try:
        return path.encode("latin-1").decode()
    except UnicodeError:
        return path


def body_size(headers: Any) -> int | None:
    """Return what Content-Length among pairs of text or bytes says; None where it is absent or makes no sense."""
    try:
        for name, value in headers:
            if name.lower() in ("content-length", b"content-length"):
                return int(value)
    except Exception:
        return None
    return None
