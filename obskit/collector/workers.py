"""Which threads do what, so that nothing urgent waits behind something slow.

Searches and pages have two threads of their own, writing has one; what is asked in passing (health, metrics) runs on
Starlette's pool. Python computes on one core at a time: more threads would not answer sooner, they would only hold
more answers in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from obskit.collector import deadline as deadlines
from obskit.collector.deadline import Deadline

_READERS = 2

Read = Callable[[Request, Deadline], Response]
_T = TypeVar("_T")


class Workers:
    """The threads of one collector. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._readers = anyio.CapacityLimiter(_READERS)
        self._writer = anyio.CapacityLimiter(1)

    def reading(self, read: Read, patience: float = 1.0) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that calls ``read`` on a reader's thread, until the client leaves or the time is over.

        ``patience`` times the timeout of a search is what it has.
        """

        async def endpoint(request: Request) -> Response:
            deadline = Deadline(deadlines.SEARCH_TIMEOUT * patience)

            def work() -> Response:
                deadline.check()
                return read(request, deadline)

            async with _watched(request, deadline):
                return await anyio.to_thread.run_sync(work, limiter=self._readers)

        return endpoint

    async def write(self, request: Request, work: Callable[[Deadline], _T]) -> _T:
        """Return what ``work`` returns on the writer's thread; the deadline tells it whether the client still waits."""
        deadline = Deadline(float("inf"))
        async with _watched(request, deadline):
            return await anyio.to_thread.run_sync(work, deadline, limiter=self._writer)


@asynccontextmanager
async def _watched(request: Request, deadline: Deadline) -> AsyncIterator[None]:
    """Within the block, a client that leaves is noted in ``deadline``. The body must have been received."""
    watching = asyncio.ensure_future(_watch(request, deadline))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(request: Request, deadline: Deadline) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.client_left = True
