"""Parts of a URL as a sender needs them: port, credentials, authority."""

from __future__ import annotations

import binascii
import ipaddress
import re
from urllib.parse import SplitResult, unquote_to_bytes

from obskit.base.patterns import pattern

# What stands before the last "@" may be a user and a password, whatever characters these hold and whatever the scheme
# looks like; so may what stands where a port should, and all from the query on.
_BEGINNING = pattern(r"""['"\[(]*(?:[A-Za-z0-9+.-]+://)?""")
_NO_PORT = pattern(r"""(//[^/\s:'"\[]*:)(?!\d*(?:[/#?'",\s]|$))[^/\s'"]+""")
_QUERY = pattern(r"(?<=\?).+", re.DOTALL)


def masked(text: str) -> str:
    """Return a URL, or text with URLs, without credentials."""
    before, at, rest = text.rpartition("@")
    beginning = _BEGINNING.match(before)
    if at and beginning:
        rest = f"{beginning[0]}***@{rest}"
    return _NO_PORT.sub(r"\1***", _QUERY.sub("***", rest))


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
    """Return whether ``host`` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
