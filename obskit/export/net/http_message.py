"""HTTP/1.1 (RFC 9112) over a Wire, as far as obskit's own requests need it: one at a time, bodies in memory.

``http.client`` is not used: programs mock, record and wrap it, and would see and answer obskit's requests.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from obskit.export.net.wire import Wire

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) +(\d{3})(?: (.*))?", re.DOTALL)
_TARGET = re.compile(r"[\x21-\x7e]+")
_UNSENDABLE = re.compile(r"[\r\n\0]")
_LONGEST_LINE = 65536
_MOST_HEADERS = 100
_BODYLESS = (204, 304)
_SMALL = 16 * 1024  # a body of up to so many bytes shares a packet with the head; a larger one is not copied for that


class NotHttp(Exception):
    """The server's answer is not an HTTP response; the text says why, in one line."""


class Headers(Mapping[str, str]):
    """A response's headers, named in any case; of repeated ones the first."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        """Take over a header, unless there is one of this name."""
        self._values.setdefault(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Head(NamedTuple):
    """A response's beginning. ``stays`` tells whether the connection can be used again behind its body."""

    status: int
    reason: str
    headers: Headers
    stays: bool


def send_request(
    wire: Wire, method: str, target: str, host: str, body: bytes | None, headers: Mapping[str, str]
) -> None:
    """Send a request. Raises OSError, or ValueError where target or headers would break its form."""
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{target!r} cannot stand in a request: percent-encode it")
    lines = {"Host": host, **headers}
    if body is not None or method in ("POST", "PUT", "PATCH"):
        lines["Content-Length"] = str(len(body or b""))
    for name, value in lines.items():
        if _UNSENDABLE.search(name + value):
            raise ValueError(f"the value of the header {name} has a line break in it")
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *map(": ".join, lines.items()), "", ""]).encode("latin-1")
    if body is None or len(body) <= _SMALL:
        wire.sendall(head + (body or b""))
    else:
        wire.sendall(head)
        wire.sendall(body)


def read_head(reader: io.BufferedReader) -> Head:
    """Read a response up to its body; interim ones are passed over. Raises OSError or NotHttp."""
    while True:
        head = _read_head(reader)
        if head.status >= 200 or head.status == 101:
            return head


def _read_head(reader: io.BufferedReader) -> Head:
    line = _line(reader)
    if line is None:
        raise ConnectionResetError("Remote end closed connection without response")
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise NotHttp(f"the answer is no HTTP: {line[:100].decode('latin-1')}")
    headers = Headers()
    for _ in range(_MOST_HEADERS + 1):
        line = _line(reader)
        if not line:
            break
        name, _, value = line.decode("latin-1").partition(":")
        headers.add(name.strip(), value.strip())
    else:
        raise NotHttp(f"the answer has more than {_MOST_HEADERS} headers")
    connection = headers.get("Connection", "").lower()
    stays = "keep-alive" in connection if found[1] == b"0" else "close" not in connection
    return Head(int(found[2]), (found[3] or b"").decode("latin-1"), headers, stays)


def _line(reader: io.BufferedReader) -> bytes | None:
    """Return a line without its end; None where there is none any more."""
    line = reader.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise NotHttp("the answer has a line without an end")
    return line.rstrip(b"\r\n") if line else None


def read_body(reader: io.BufferedReader, method: str, head: Head, most: int) -> tuple[bytes, bool]:
    """Return the first ``most`` bytes of a body at most, and whether all of it was read, and nothing behind it.

    Where the server ends it too early, what came. The status is known: losing the rest costs the connection alone.
    """
    if method == "HEAD" or head.status in _BODYLESS:
        return b"", True
    text = bytearray()
    try:
        if head.headers.get("Transfer-Encoding", "").lower() == "chunked":
            complete = _read_chunks(reader, most, text)
            return bytes(text), complete
        length = head.headers.get("Content-Length", "")
        known = length.isdecimal() and length.isascii()
        wanted = min(most, int(length)) if known else most
        _read_into(text, reader, wanted)
        return bytes(text), known and len(text) == int(length)
    except (OSError, NotHttp, ValueError):
        return bytes(text), False


def _read_chunks(reader: io.BufferedReader, most: int, text: bytearray) -> bool:
    while True:
        size = int((_line(reader) or b"").partition(b";")[0], 16)
        if size < 0:
            raise NotHttp("the answer has a chunk of less than nothing")
        _read_into(text, reader, min(size, most - len(text)))
        if size == 0:
            while _line(reader):  # trailers
                pass
            return True
        if len(text) == most:
            return False
        _line(reader)


def _read_into(text: bytearray, reader: io.BufferedReader, size: int) -> None:
    """Append ``size`` bytes, or as many as come."""
    while size > 0:
        data = reader.read1(size)
        if not data:
            raise ConnectionResetError("the body ends too early")
        text += data
        size -= len(data)
