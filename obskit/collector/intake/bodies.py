"""Receiving the bodies of messages: so many bytes at once, and none of them forever.

A body that is still coming holds nothing that others wait for, only its bytes. When too many bytes are held, the body
that began first is turned away: a client that sends slowly cannot keep out those that do not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from obskit.collector.intake.zipkin import MAX_BODY, Message, Rejected, too_large
from obskit.collector.told import Told

BODY_TIMEOUT = 30.0  # seconds for the whole body
MOST_BYTES = 16 * MAX_BODY  # of bodies which are received or wait to be stored


class _Held:
    """A body that is held: how many bytes of it, and the task that receives it."""

    def __init__(self) -> None:
        self.size = 0
        self.refusal: Rejected | None = None
        self._task = asyncio.current_task()

    def refuse(self, refusal: Rejected) -> None:
        """End the receiving with this error, at once where the task waits for more."""
        self.refusal = refusal
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def refused(self) -> Rejected | None:
        """Return the error after the receiving was cancelled; None where the whole request is."""
        if self.refusal and self._task and sys.version_info >= (3, 11):
            self._task.uncancel()
        return self.refusal


class Intake:
    """The bodies held by one collector. For the event loop's thread alone."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._total = 0
        self._coming: dict[_Held, None] = {}  # oldest first

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Return the whole body, counted as held until the end of the block. Raises Rejected or ClientDisconnect."""
        held = _Held()
        try:
            yield await self._receive(request, held)
        finally:
            self._release(held)

    @asynccontextmanager
    async def message(self, request: Request, version: int = 2) -> AsyncIterator[Message]:
        """Return the whole body with what its headers say of it, held as ``body`` does."""
        self._told.note(request.headers)
        kind, encoding = (request.headers.get(name, "") for name in ("content-type", "content-encoding"))
        async with self.body(request) as body:
            yield Message(version, body, kind, encoding)

    async def _receive(self, request: Request, held: _Held) -> bytes:
        late = Rejected(408, f"the body took longer than {BODY_TIMEOUT:g} s")
        timer = asyncio.get_running_loop().call_later(BODY_TIMEOUT, held.refuse, late)
        self._coming[held] = None
        try:
            return await self._collect(request, held)
        except asyncio.CancelledError:
            if refusal := held.refused():
                raise refusal from None
            raise
        finally:
            timer.cancel()
            self._coming.pop(held, None)

    async def _collect(self, request: Request, held: _Held) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            body += chunk
            held.size += len(chunk)
            self._total += len(chunk)
            if len(body) > MAX_BODY:  # the server reads and drops the rest, so the client sees the answer
                raise too_large()
            while self._total > MOST_BYTES and self._coming:
                self._turn_away_oldest()
            if held.refusal:
                raise held.refusal
        return bytes(body)

    def _turn_away_oldest(self) -> None:
        oldest = next(iter(self._coming))
        del self._coming[oldest]
        self._release(oldest)
        oldest.refuse(Rejected(503, "too many uploads at once; try again"))

    def _release(self, held: _Held) -> None:
        self._total -= held.size
        held.size = 0
