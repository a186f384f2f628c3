"""The application that every HTTP server integration is tested with, whatever the framework around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from obskit.instrumentation.tracer import propagator
from obskit.propagation import mesh
from obskit.tracing.current import current_span, get_context


class Unprintable(Exception):
    """An exception whose ``__str__`` raises."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Site:
    """The application's logic: plain functions that a test's framework code calls from its routes.

    ``go_on`` lets a stream continue; with ``endless`` it never ends, with ``failing`` it raises before its first chunk.
    ``closed`` is set when it has ended or was closed.
    """

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self.endless = False
        self.failing = False
        self.pool = ThreadPoolExecutor(1)
        self.next_hop: dict[str, str] = {}

    def item(self, name: str) -> tuple[str, int]:
        """Serve ``/items/{name}``: return a text (the trace id, except for ``same`` and ``large``) and a status.

        ``raise`` and ``unprintable`` raise, ``pooled`` asks another thread for the trace id.
        """
        self.next_hop = {**mesh.of(get_context())}
        self.next_hop.update(propagator.fields_of(current_span()))
        if name == "raise":
            raise ValueError("no such luck")
        if name == "unprintable":
            raise Unprintable
        text = self.pool.submit(self.trace).result(10) if name == "pooled" else self.trace()
        text = {"same": name, "large": name * 60_000}.get(name, text)
        return text, int(name) if name.isascii() and name.isdecimal() else 200

    def stream(self) -> Iterator[bytes]:
        """Serve ``/stream``: chunks with the current trace id, the second one after the test has set ``go_on``."""
        try:
            self._begin()
            yield self._chunk()
            assert self.go_on.wait(10)
            yield self._chunk()
            while self.endless:
                yield b"." * 65536
        finally:
            self.closed.set()

    async def stream_async(self) -> AsyncIterator[bytes]:
        """Serve ``/stream`` for frameworks that iterate asynchronously."""
        try:
            self._begin()
            yield self._chunk()
            assert await asyncio.to_thread(self.go_on.wait, 10)
            yield self._chunk()
            while self.endless:
                yield b"." * 65536
                await asyncio.sleep(0)  # a server whose client has left may accept chunks without ever waiting
        finally:
            self.closed.set()

    def trace(self) -> str:
        """Return the current trace id, or ``None``."""
        return f"{current_span().trace_id}"

    def _begin(self) -> None:
        if self.failing:
            raise ValueError("no first chunk")

    def _chunk(self) -> bytes:
        return f"{self.trace()}\n".encode()
