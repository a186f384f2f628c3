"""Which hosts are told of our traces."""

from __future__ import annotations

import re
from collections.abc import Iterable

from obskit.instrumentation.http import safe_url

_PORTS = {"http": "80", "https": "443"}
_PORT = re.compile(r":\d+$")
TARGET = re.compile(r"\[[0-9a-fA-F:.*]+\](:\d+)?|[^\s/:@?#\[\]]+(:\d+)?")
"""A host: a name, an address or a pattern with ``*`` such as ``*.internal``; a port may follow."""


class Targets:
    """Hosts, as TARGET has them. One without a port stands for all of its ports."""

    def __init__(self, targets: Iterable[str]) -> None:
        self._match = re.compile("|".join(map(_pattern, targets)) or "(?!)", re.IGNORECASE).fullmatch

    def include(self, url: str) -> bool:
        """Return whether ``url`` leads to one of them; a malformed one does not."""
        host = safe_url(url)[1]
        port = _PORT.search(host)
        host = host[: port.start()] if port else host.rstrip(":")
        number = port[0][1:] if port else _PORTS.get(url.partition(":")[0].lower(), "")
        return self._match(f"{host.rstrip('.')}:{number}") is not None


def _pattern(target: str) -> str:
    port = _PORT.search(target)
    host = target[: port.start()] if port else target
    return re.escape(host.rstrip(".")).replace(r"\*", ".*") + (port[0] if port else r":\d*")
