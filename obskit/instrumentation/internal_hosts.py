"""Which hosts are inside: what ``internal`` stands for among the hosts of ``propagate_to``."""

from __future__ import annotations

import ipaddress
import re

_NETWORKS = tuple(
    map(ipaddress.ip_network, ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"])
)
_SUFFIXES = r"localhost|internal|svc|cluster\.local"
# ASCII only, since IDNA makes dots of other characters; no bare number, since the C library reads one as an address.
_NAME = re.compile(rf"(?!\d+$|0x[0-9a-f]*$)[a-z0-9_-]+|(?:[a-z0-9_-]+\.)+(?:{_SUFFIXES})", re.IGNORECASE | re.ASCII)


def is_internal(host: str) -> bool:
    """Return whether ``host`` (no port; an IPv6 address in brackets) is on this machine, network or cluster.

    That is a loopback or private address (RFC 1918, RFC 4193), a name of a single label, or one below
    ``localhost``, ``internal``, ``svc`` or ``cluster.local``. Names are not looked up.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return _NAME.fullmatch(host) is not None
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _NETWORKS)
