"""The names under which a collector answers."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

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
