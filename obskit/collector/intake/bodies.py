"""Receiving the bodies of messages: so many bytes at once, and none of them forever.

A body that is still coming holds nothing that others wait for, only its bytes. When too many bytes are held, the body
that began first is turned away: a client that sends slowly cannot keep out those that do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from obskit.base.told_losses import HEADER
from obskit.collector.intake.zipkin import MAX_BODY, Message, Rejected, too_large
from obskit.collector.told_losses import ToldLosses

BODY_TIMEOUT = 30.0  # seconds for the whole body
MOST_BYTES = 16 * MAX_BODY  # of bodies which are received or wait to be stored


@dataclass
class _Held:
    """How many bytes of a body are held."""

    size: int = 0


class Intake:
    """The bodies held by one collector. For the event loop's thread alone."""

    def __init__(self) -> None:
        self.losses = ToldLosses()
        self._total = 0
        self._coming: dict[asyncio.Task[bytes], _Held] = {}  # oldest first

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
        self.losses.note(request.headers.get(HEADER))
        kind, encoding = (request.headers.get(name, "") for name in ("content-type", "content-encoding"))
        async with self.body(request) as body:
            yield Message(version, body, kind, encoding)

    async def _receive(self, request: Request, held: _Held) -> bytes:
        coming = asyncio.ensure_future(self._collect(request, held))
        self._coming[coming] = held
        try:
            done, _ = await asyncio.wait({coming}, timeout=BODY_TIMEOUT)
            if not done:
                raise Rejected(408, f"the body took longer than {BODY_TIMEOUT:g} s")
            if coming.cancelled():
                raise Rejected(503, "too many uploads at once; try again")
            return coming.result()
        finally:
            self._coming.pop(coming, None)
            coming.cancel()

    async def _collect(self, request: Request, held: _Held) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            held.size += len(chunk)
            self._total += len(chunk)
            if len(body) > MAX_BODY:  # the server reads and drops the rest, so the client sees the answer
                raise too_large()
            while self._total > MOST_BYTES and self._coming:
                self._turn_away_oldest()
        return bytes(body)

    def _turn_away_oldest(self) -> None:
        coming = next(iter(self._coming))
        self._release(self._coming.pop(coming))
        coming.cancel()

    def _release(self, held: _Held) -> None:
        self._total -= held.size
        held.size = 0
