"""What a handle of curl was told to request: libcurl tells none of it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_KEY = "_obskit_request"
_METHODS = {"NOBODY": "HEAD", "UPLOAD": "PUT", "POST": "POST", "HTTPGET": "GET"}
_BODIES = ("POSTFIELDS", "COPYPOSTFIELDS", "HTTPPOST", "MIMEPOST")
_KEPT = ("URL", "HTTPHEADER", "CUSTOMREQUEST", "CONNECT_ONLY")
OPTIONS = (*_KEPT, *_BODIES, *_METHODS)
"""The options that matter, as pycurl names them."""


class CurlRequest:
    """The next request of a handle."""

    __slots__ = ("_method", "_options")

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}
        self._method = "GET"

    def copy(self) -> CurlRequest:
        """Return one for a duplicate of the handle."""
        made = CurlRequest()
        made._options, made._method = dict(self._options), self._method
        return made

    def note(self, option: str, value: Any) -> None:
        """Keep the value of one of OPTIONS; None unsets it. The last one that names a method counts."""
        if option == "HTTPHEADER" and value is not None:
            self._options[option] = list(value) or self.lines  # pycurl passes over an empty one
        elif option in _KEPT:
            self._options[option] = value
        elif option in _BODIES:
            self._method = "POST"
        elif value or self._method == _METHODS[option]:
            self._method = _METHODS[option] if value else "GET"

    @property
    def lines(self) -> list[Any]:
        """Its header lines, ``Name: value`` in text or bytes."""
        return self._options.get("HTTPHEADER") or []

    @property
    def method(self) -> str:
        """The method that it is sent with."""
        return _text(self._options.get("CUSTOMREQUEST")) or self._method

    @property
    def url(self) -> str | None:
        """Its URL, whole; None where this is no request of HTTP: another protocol, a bare connection, no URL."""
        url = _text(self._options.get("URL"))
        if not url or self._options.get("CONNECT_ONLY"):
            return None
        url = url if "://" in url else f"http://{url}"
        return url if url[:8].lower().startswith(("http://", "https://")) else None


def request_of(curl: Any) -> CurlRequest | None:
    """Return what ``curl`` is told to request; None where its transfers are to make no spans."""
    known: dict[str, CurlRequest | None] = vars(curl)
    if _KEY not in known:
        known[_KEY] = CurlRequest()
    return known[_KEY]


def start_anew(curl: Any, request: CurlRequest | None = None) -> None:
    """Forget what ``curl`` was told, or let it have been told ``request``."""
    if request_of(curl) is not None:
        vars(curl)[_KEY] = request or CurlRequest()


def leave(curl: Any) -> None:
    """Make no spans for a handle: the library that it belongs to makes them."""
    if hasattr(curl, "__dict__"):  # pycurl's own, unpatched, makes none
        vars(curl)[_KEY] = None


class HeaderLines:
    """Header lines as headers by name."""

    def __init__(self, lines: Iterable[Any]) -> None:
        self.lines = list(lines)

    def __iter__(self) -> Iterator[str]:
        return (_name(line) for line in self.lines)

    def __getitem__(self, name: str) -> str:
        return next(_text(line).partition(":")[2].strip() for line in self.lines if _name(line) == name)

    def __setitem__(self, name: str, value: str) -> None:
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"libcurl would send {value!r} as it is, be it a header or the end of one")
        self.lines.append(f"{name}: {value}")

    def __delitem__(self, name: str) -> None:
        self.lines = [line for line in self.lines if _name(line) != name]


def _name(line: Any) -> str:
    return _text(line).partition(":")[0].rstrip("; ")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""
