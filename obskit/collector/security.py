"""Who may ask a collector: the host names under which it answers, and its token."""

from __future__ import annotations

import ipaddress
import re
import socket
from base64 import b64decode
from collections.abc import Iterable
from hmac import compare_digest

_host_header = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]*)?").fullmatch


class HostPolicy:
    """The host names under which the collector answers: loopback, what it is bound to, and ``extra`` names.

    Bound to every interface it also answers to any IP address, which no DNS record can forge, and to the
    name of this machine.
    """

    def __init__(self, bound: str, extra: Iterable[str] = ()) -> None:
        self._any_address = bound in {"", "0.0.0.0", "::"}
        self._names = {"localhost", bound.lower(), *(name.lower() for name in extra)}
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def allows(self, host: str) -> bool:
        """Return True for a Host header (``name``, ``name:port``, ``[ipv6]:port``) that names this collector."""
        parts = _host_header(host)
        if not parts:
            return False
        name = (parts["ipv6"] or parts["name"]).lower()
        return name in self._names or self._allows_address(name)

    def _allows_address(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


class Token:
    """What every request must know; None asks for nothing."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    def is_in(self, authorization: str) -> bool:
        """Return whether the header has the token (bearer, or the password of any name), or none is asked for."""
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return compare_digest(given.strip().encode(), self._token)
        try:
            password = b64decode(given.strip(), validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
        except ValueError:
            return False
        return compare_digest(password, self._token)
