"""Which threads do what, so that nothing urgent waits behind something slow.

Searches and pages have two threads of their own, writing has one; what is asked in passing (health, metrics) runs on
Starlette's pool. Python computes on one core at a time: more threads would not answer sooner, they would only hold
more answers in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector import deadline as deadlines
from obskit.collector.deadline import Deadline

_READERS = 2
_SOON = 0.05  # seconds: while what began at once takes no longer, nobody looks whether its client has left

Read = Callable[[Request, Deadline], Response]
_T = TypeVar("_T")


class Workers:
    """The threads of one collector. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._readers = _Pool(_READERS, "obskit-collector-reader")
        self._writer = _Pool(1, "obskit-collector-writer")
        self._beside = _Pool(1, "obskit-collector-beside")

    def close(self) -> None:
        """End the threads, each after what it is doing. Any thread may call this, once no request comes any more."""
        for pool in (self._readers, self._writer, self._beside):
            pool.close()

    def reading(self, read: Read, patience: float = 1.0) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that calls ``read`` on a reader's thread, until the client leaves or the time is over.

        ``patience`` times the timeout of a search is what it has.
        """

        async def endpoint(request: Request) -> Response:
            deadline = Deadline(deadlines.SEARCH_TIMEOUT * patience)

            def work() -> Response:
                deadline.check()
                return read(request, deadline)

            return await self._readers.run(work, request, deadline)

        return endpoint

    async def write(self, request: Request, work: Callable[[Deadline], _T]) -> _T:
        """Return what ``work`` returns on the writer's thread; the deadline tells it whether the client still waits."""
        deadline = Deadline(float("inf"))
        return await self._writer.run(partial(work, deadline), request, deadline)

    async def beside(self, request: Request, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns on a thread for what takes long and nothing waits for."""
        return await self._beside.run(work, request, Deadline(float("inf")))


class _Pool:
    """Threads that are given work by the event loop."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._idle = threads

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], _T], request: Request, deadline: Deadline) -> _T:
        """Return what ``work`` returns on one of the threads."""
        patience = _SOON if self._idle > 0 else 0.0
        self._idle -= 1
        try:
            with _watched(request, deadline, patience):
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._idle += 1


@contextmanager
def _watched(request: Request, deadline: Deadline, patience: float) -> Iterator[None]:
    """Within the block, a client that leaves is noted in ``deadline``. The body must have been received."""
    watching: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    begin = loop.call_later(patience, lambda: watching.append(loop.create_task(_watch(request, deadline))))
    try:
        yield
    finally:
        begin.cancel()
        for task in watching:
            task.cancel()


async def _watch(request: Request, deadline: Deadline) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.client_left = True
