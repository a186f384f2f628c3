"""Whose trace headers count: everybody's, nobody's, or those of callers in some networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from obskit.instrumentation.http_tags import Remote

_LOCAL = "127.0.0.1"  # a caller over a socket of Unix has no address

everybody = True
"""Whether nobody's address needs to be looked at: to be asked as ``trust.everybody``, since configuring replaces it."""

_holds: Callable[[str], bool]


def trust(whom: str | Sequence[str]) -> None:
    """Read the trace headers of ``whom`` from now on: ``always``, ``never``, or networks such as ``10.0.0.0/8``."""
    global everybody, _holds  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    everybody = whom == "always"
    _holds = _in_networks(whom if not isinstance(whom, str) else ())


def trusted(remote: Remote | None) -> bool:
    """Return whether the trace headers of a caller count, whose address the server knows."""
    return everybody or _holds(remote[0] if remote else _LOCAL)


def _in_networks(names: Sequence[str]) -> Callable[[str], bool]:
    import ipaddress  # here, since few programs need it

    networks = [ipaddress.ip_network(name, strict=False) for name in names]

    @lru_cache(maxsize=4096)
    def holds(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address or _LOCAL)
        except ValueError:  # a name, as test clients have one
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in networks)

    return holds
