"""What the parts of a URL say to whoever sends to it."""

from __future__ import annotations

import binascii
import ipaddress
import re
from urllib.parse import SplitResult, unquote_to_bytes

# A user and a password, also where these hold a "/" that should be percent-encoded or where the scheme is missing; and
# all from the query on: nobody can say where a password ends.
_SECRET = re.compile(r"""(?<=//)[^\s'"]+(?=@)|(?<![^\s'"])[^\s'"/]+:[^\s'"/]*(?=@)|(?<=\?).+""", re.DOTALL)


def masked(text: str) -> str:
    """Return a URL, or text with URLs, as it may be shown: without credentials."""
    return _SECRET.sub("***", text)


def port_of(parts: SplitResult) -> int | None:
    """Return a URL's port, None where it names none. Raises ValueError, without what stands there, for a bad one."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("its port is not a number from 1 to 65535; in a user or password, percent-encode / ? # @")
    return port


def basic_credentials(parts: SplitResult) -> str | None:
    """Return a URL's user and password as HTTP's Basic scheme has them (RFC 7617); None where it has no user."""
    if parts.username is None:
        return None
    credentials = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return f"Basic {binascii.b2a_base64(credentials, newline=False).decode()}"


def authority(host: str, port: int) -> str:
    """Return a host and its port as they stand in a URL that is sent: in ASCII (IDNA)."""
    return f"[{host}]:{port}" if ":" in host else f"{host.encode('idna').decode()}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether what is sent to ``host`` stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
