"""A connection's limits: one that sends no request, or does not read its answer, is closed.

uvicorn closes a connection on which nothing comes after an answer; it waits forever for the first request, and any
byte makes it wait again. These deadlines are absolute. That of a body is in ``intake``.

Where httptools is installed it parses the requests, which takes a few microseconds where h11 takes a hundred.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    HttpToolsProtocol = None  # type: ignore[assignment, misc]

HEAD_TIMEOUT = 10.0  # seconds, from the opening or the last answer to the end of the next request's headers
ANSWER_TIMEOUT = 60.0  # the same where the client has not read the whole answer by then
_USUAL = (b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"PUT ", b"DELETE ", b"PATCH ", b"\r\n", b"\n")
_MOST_HEAD = 64 * 1024  # bytes of a request that are not of its body


class _Deadline(asyncio.Protocol):
    """What is closed when a request's headers are late."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Opened: the first request is due."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: nothing is due."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        """The next request is due. What is left of the last one's body does not put it off."""
        self._expect_nothing()
        self._deadline = self.loop.call_later(HEAD_TIMEOUT, self._end, ANSWER_TIMEOUT - HEAD_TIMEOUT)

    def _end(self, longer: float) -> None:
        """Close the connection, where the last answer is not read yet some time later."""
        if longer > 0 and self.transport.get_write_buffer_size():
            self._deadline = self.loop.call_later(longer, self._end, 0.0)
        else:
            self.transport.abort()  # close() would wait for the reader

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class H11Connection(_Deadline, H11Protocol):
    """uvicorn's connection with h11."""

    def handle_events(self) -> None:
        """Handle bytes that came: nothing is due once they complete the headers of a request."""
        last = self.cycle
        super().handle_events()
        if self.cycle is not last:
            self._expect_nothing()

    def on_response_complete(self) -> None:
        """Answered."""
        self._expect_request()
        super().on_response_complete()  # which may find that the next one is there


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)


Connection: type[asyncio.Protocol] = H11Connection

if HttpToolsProtocol is not None:

    class HttpToolsConnection(_Deadline, HttpToolsProtocol):
        """uvicorn's connection with httptools, which has no limit for headers: that of what is no body is here."""

        _line: bytes | None = b""  # what came of the first line of a request, which is judged as a whole; then None
        _others = 0  # bytes since the last that were of a body, or completed headers

        def data_received(self, data: bytes) -> None:
            """Handle bytes that came: nothing is due once they complete the headers of a request."""
            last = self.cycle
            self._others += len(data)
            if self._line is not None:
                data = self._line + data
                if b"\n" not in data and self._others <= _MOST_HEAD:
                    self._line = data
                    return
                self._line = b""
                if not data.startswith(_USUAL) and (last is None or last.response_complete):
                    self._hand_over(data)
                    return
            super().data_received(data)
            if self.cycle is not last:
                self._expect_nothing()
                self._others = 0
            elif self._others > _MOST_HEAD and not self.transport.is_closing():
                self.send_400_response("Headers are too long.")

        def _hand_over(self, data: bytes) -> None:
            """Give the connection to h11, for a method that httptools does not know, such as one that is made up."""
            self.connections.discard(self)
            self._unset_keepalive_if_required()
            self._expect_nothing()
            other = H11Connection(self.config, self.server_state, self.app_state, self.loop)
            other.connection_made(self.transport)
            self.transport.set_protocol(other)
            other.data_received(data)

        def on_message_begin(self) -> None:
            """Handle the first bytes of a request."""
            self._line = None
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            """Begin to answer. Headers that are too long and came at once are refused by the error."""
            if self._others > _MOST_HEAD and len(self.url) + _size(self.headers) > _MOST_HEAD:
                raise ValueError("headers are too long")
            super().on_headers_complete()
            self.headers = []  # trailers go here, not to the request, which is being answered

        def on_body(self, body: bytes) -> None:
            """Handle some of a body."""
            self._others = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            """Handle the end of a request."""
            self._line = b""
            super().on_message_complete()

        def on_response_complete(self) -> None:
            """Answered."""
            if not self.pipeline:
                self._expect_request()
            super().on_response_complete()

    Connection = HttpToolsConnection
