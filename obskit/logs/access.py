"""Converts the records of servers' access loggers to Cloud Logging's ``httpRequest``, and logs served requests.

Source: google.logging.type.HttpRequest; uvicorn's, gunicorn's, hypercorn's and granian's access log arguments.

Cloud Logging shows an entry with that field as the line of its request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from obskit.base.interruptions import let_through
from obskit.base.patterns import pattern
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.logs.context import trace_of
from obskit.logs.moment import TRACE


def http_request(
    method: str,
    url: str,
    status: int,
    *,
    size: int | None = None,
    seconds: float | None = None,
    remote_ip: str | None = None,
    protocol: str | None = None,
    user_agent: str | None = None,
) -> dict[str, Any]:
    """Return the field, with the URL without its query and the latency as text such as ``0.012s``."""
    found = {
        "requestMethod": method,
        "requestUrl": url.partition("?")[0],
        "status": status,
        "responseSize": None if size is None else str(size),
        "latency": None if seconds is None else f"{seconds:.9f}".rstrip("0").rstrip(".") + "s",
        "remoteIp": remote_ip,
        "protocol": protocol,
        "userAgent": user_agent,
    }
    return {key: value for key, value in found.items() if value is not None}


def of_record(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the field for a record of a server's access logger; None if its form is unknown."""
    try:
        return _READERS[record.name](record.args)
    except Exception:
        let_through()
        return None


def _uvicorn(args: Any) -> dict[str, Any]:
    client, method, path, version, status = args
    return http_request(
        method, path, int(status), remote_ip=str(client).rpartition(":")[0] or None, protocol=f"HTTP/{version}"
    )


def _atoms(args: Any) -> dict[str, Any] | None:
    """Read gunicorn's atoms: m method, U path, r request line, s status, B size, D microseconds, h client."""
    atoms = args[0] if isinstance(args, tuple) and len(args) == 1 else args
    if not isinstance(atoms, Mapping):
        return None
    return http_request(
        atoms["m"],
        atoms["U"] or atoms["r"].split()[1],  # a request that raised has only its request line
        int(str(atoms["s"]).split()[0]),
        size=_number(atoms.get("B")),
        seconds=None if _number(atoms.get("D")) is None else int(atoms["D"]) / 1e6,
        remote_ip=_known(atoms.get("h")),
        protocol=_known(atoms.get("H")),
        user_agent=_known(atoms.get("a")),
    )


def _hypercorn(args: Any) -> dict[str, Any] | None:
    """Read hypercorn's atoms: the client ends in a colon and its port, and H is a bare version."""
    found = _atoms(args)
    if found is not None:
        if ":" in found.get("remoteIp", ""):
            found["remoteIp"] = found["remoteIp"].rpartition(":")[0]
        if "protocol" in found:
            found["protocol"] = f"HTTP/{found['protocol']}"
    return found


def _granian(args: Any) -> dict[str, Any]:
    atoms = args[0] if isinstance(args, tuple) else args
    return http_request(
        atoms["method"],
        atoms["path"],
        int(atoms["status"]),
        seconds=float(atoms["dt_ms"]) / 1e3,
        remote_ip=_known(atoms["addr"]),
        protocol=_known(atoms["protocol"]),
    )


def _number(value: Any) -> int | None:
    return int(value) if str(value).isdecimal() else None


def _known(value: Any) -> str | None:
    return str(value) if value and value != "-" else None


_READERS: dict[str, Callable[[Any], dict[str, Any] | None]] = {
    "uvicorn.access": _uvicorn,
    "gunicorn.access": _atoms,
    "hypercorn.access": _hypercorn,
    "granian.access": _granian,
}

_PAINT = pattern(r"\x1b\[[0-9;:]*m")  # SGR sequences of ECMA-48: colours and other text attributes


def without_paint(message: str) -> str:
    """Return a message without the colours that such loggers add for terminals."""
    return _PAINT.sub("", message) if "\x1b" in message else message


_logger = logging.getLogger("obskit.requests")


def log_request(exchange: ServerExchange) -> None:
    """Log a request whose response has ended. 4xx is a warning, 5xx an error."""
    seen = exchange.seen
    if seen is None:
        return
    request = http_request(
        exchange.method,
        exchange.path,
        exchange.status,
        size=exchange.size,
        seconds=perf_counter() - seen.began,
        remote_ip=seen.remote_ip,
        user_agent=seen.user_agent,
    )
    level = logging.ERROR if exchange.status >= 500 else logging.WARNING if exchange.status >= 400 else logging.INFO
    trace = trace_of(exchange.span)
    extra = {"httpRequest": request} if trace is None else {"httpRequest": request, TRACE: trace}
    _logger.disabled = False  # dictConfig disables loggers that it does not name
    _logger.log(level, "%s %s %d", exchange.method, exchange.path, exchange.status, extra=extra)
