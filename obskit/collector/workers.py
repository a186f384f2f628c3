"""Which threads do what, so that nothing urgent waits behind something slow.

Searches and pages have two threads of their own, writing has one; what is asked in passing (health, metrics) runs on
Starlette's pool. Python computes on one core at a time: more threads would not answer sooner, they would only hold
more answers in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

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
    """Threads that are given work by the event loop, in a quarter of the time that an executor of asyncio's takes."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = [Thread(target=self._work, name=f"{name}_{n}", daemon=True) for n in range(threads)]
        self._queue: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._idle = threads
        self._started = self._closed = False

    def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    async def run(self, work: Callable[[], _T], request: Request, deadline: Deadline) -> _T:
        """Return what ``work`` returns on one of the threads. A client that leaves meanwhile is noted in ``deadline``.

        The body of the request must have been received.
        """
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        loop, watching = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        answer: asyncio.Future[_T] = loop.create_future()
        patience = _SOON if self._idle > 0 else 0.0
        begin = loop.call_later(patience, lambda: watching.append(loop.create_task(_watch(request, deadline))))
        self._idle -= 1
        self._queue.put((work, answer))
        try:
            return await answer
        finally:
            self._idle += 1
            begin.cancel()
            for task in watching:
                task.cancel()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if not (self._closed or item[1].cancelled()):
                _do(*item)
            del item  # it has the body of a message


def _do(work: Callable[[], _T], answer: asyncio.Future[_T]) -> None:
    try:
        settle = partial(answer.set_result, work())
    except BaseException as error:
        settle = partial(answer.set_exception, error)
    try:
        answer.get_loop().call_soon_threadsafe(_settle, answer, settle)
    except RuntimeError:  # the loop has ended, and nobody waits any more
        pass


def _settle(answer: asyncio.Future[_T], settle: Callable[[], None]) -> None:
    if not answer.done():
        settle()


async def _watch(request: Request, deadline: Deadline) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.client_left = True
