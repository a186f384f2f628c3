"""Whose trace headers count: everybody's, nobody's, or those of callers in some networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

Remote = tuple[str, int | None]

_LOCAL = "127.0.0.1"  # a caller over a socket of Unix has no address

_trusts: Callable[[str], bool] | None = None


def trust(whom: str | Sequence[str]) -> None:
    """Read the trace headers of ``whom`` from now on: ``always``, ``never``, or networks such as ``10.0.0.0/8``."""
    global _trusts  # noqa: PLW0603 - chosen when configuring, so that no request looks it up anywhere
    _trusts = None if whom == "always" else _in_networks(() if whom == "never" else whom)


def trusted(remote: Remote | None) -> bool:
    """Return whether the trace headers of a caller count, whose address the server knows."""
    return _trusts is None or _trusts(remote[0] if remote else _LOCAL)


def trusted_peer(address: Callable[[], Remote | None]) -> bool:
    """Return the same, asking for the address only where it matters."""
    return _trusts is None or trusted(address())


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
