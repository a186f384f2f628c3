"""The head of a request that ``http.client`` has not sent yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class UnsentHead:
    """The header lines an ``HTTPConnection`` holds back until ``endheaders``, as headers by name.

    Where it keeps them elsewhere than it has since Python 2, it seems to have none: then ours are only added.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lines: list[bytes] = getattr(connection, "_buffer", [])

    def __iter__(self) -> Iterator[str]:
        return (line.partition(b":")[0].decode("latin-1") for line in self._lines[1:])

    def __getitem__(self, name: str) -> str | None:
        start = f"{name}:".encode("latin-1")
        return next(
            (line[len(start) :].strip().decode("latin-1") for line in self._lines if line.startswith(start)), None
        )

    def __delitem__(self, name: str) -> None:
        start = f"{name}:".encode("latin-1")
        self._lines[1:] = [line for line in self._lines[1:] if not line.startswith(start)]

    def __setitem__(self, name: str, value: str) -> None:
        self._connection.putheader(name, value)
