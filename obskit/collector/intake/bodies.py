"""Receiving the bodies of messages: so many bytes at once, and none of them forever.

A body that is still coming holds nothing that others wait for, only its bytes. When too many bytes are held, the body
that began first is turned away: a client that sends slowly cannot keep out those that do not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from starlette.requests import ClientDisconnect, Request

from obskit.collector.guard import headers_of
from obskit.collector.intake.zipkin import MAX_BODY, Message, Rejected, too_large
from obskit.collector.told import Told

_T = TypeVar("_T")
BODY_TIMEOUT = 30.0  # seconds for the whole body
MOST_BYTES = 16 * MAX_BODY  # of bodies which are received or wait to be stored


class _Held(Generic[_T]):
    """A body that is held within a block: how many bytes of it, and the task that receives it.

    The block is given what ``made`` returns of the whole body. Entering it raises Rejected or ClientDisconnect.
    """

    def __init__(self, intake: Intake, request: Request, made: Callable[[bytes], _T]) -> None:
        self.size = 0
        self.refusal: Rejected | None = None
        self._intake = intake
        self._request = request
        self._made = made
        self._task = asyncio.current_task()

    async def __aenter__(self) -> _T:
        try:
            return self._made(await self._intake.receive(self._request, self))
        except BaseException:
            self._intake.release(self)
            raise

    async def __aexit__(self, *_error: object) -> None:
        self._intake.release(self)

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
        self._coming: dict[_Held[Any], None] = {}  # oldest first

    def body(self, request: Request) -> _Held[bytes]:
        """Return the whole body, counted as held until the end of the block."""
        return _Held(self, request, bytes)

    def message(self, request: Request, version: int = 2) -> _Held[Message]:
        """Return the whole body with what its headers say of it, held as ``body`` does."""
        headers = headers_of(request.scope)
        self._told.note(headers)
        kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
        return _Held(self, request, lambda body: Message(version, body, kind, encoding))

    async def receive(self, request: Request, held: _Held[_T]) -> bytes:
        """Return the whole body, counted as ``held``. Raises Rejected or ClientDisconnect."""
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

    async def _collect(self, request: Request, held: _Held[_T]) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            if more or body:
                body += chunk
            held.size += len(chunk)
            self._total += len(chunk)
            if held.size > MAX_BODY:  # the server reads and drops the rest, so the client sees the answer
                raise too_large()
            while self._total > MOST_BYTES and self._coming:
                self._turn_away_oldest()
            if held.refusal:
                raise held.refusal
        return bytes(body) or chunk  # most come as one piece

    def _turn_away_oldest(self) -> None:
        oldest = next(iter(self._coming))
        del self._coming[oldest]
        self.release(oldest)
        oldest.refuse(Rejected(503, "too many uploads at once; try again"))

    def release(self, held: _Held[_T]) -> None:
        """Count a body no longer."""
        self._total -= held.size
        held.size = 0
