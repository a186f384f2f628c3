"""Delivering what a request recorded before its response ends, where the platform stops the CPU afterwards."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from obskit.base.failures import failed
from obskit.base.process import on_fork
from obskit.instrumentation.server_exchange import ServerExchange, hold_responses
from obskit.tracing.current import AnySpan
from obskit.tracing.span import Span

if TYPE_CHECKING:
    from concurrent.futures import Executor

Flush = Callable[[float], bool]
"""Delivers all that has ended, within so many seconds; returns whether that was possible."""

_PAUSE = 5.0
_BODYLESS = (204, 304)


class _ResponseFlush:
    """Delivers in ``seconds`` at most. Where they did not suffice, it delivers nothing for a while: a destination that
    is slow or down must not slow each request. ``left`` says that something may wait since: the next request delivers
    it, sampled or not, because without a request there is no CPU."""

    def __init__(self, flush: Flush, seconds: float) -> None:
        self.seconds = seconds
        self.left = False
        self.executor: Executor | None = None
        self._flush = flush
        self._resume = 0.0

    @property
    def paused(self) -> bool:
        return monotonic() < self._resume

    def deliver(self) -> None:
        began = monotonic()
        self.left = paused = self.paused
        if paused:
            return
        try:
            if not self._flush(self.seconds):
                self.left = True
                if monotonic() - began >= self.seconds:
                    self._resume = monotonic() + _PAUSE
        except Exception:
            failed("delivering before a response ends")

    async def deliver_async(self) -> None:
        """Deliver on one thread of obskit's, so that a flush finds done what the one before it did."""
        import asyncio

        if self.paused:
            self.left = True
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another library's loop
            return
        try:
            await asyncio.wait_for(loop.run_in_executor(self._thread(), self.deliver), self.seconds)
        except asyncio.TimeoutError:
            self.left = True
        except Exception:
            failed("delivering before a response ends")

    def _thread(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor

        if self.executor is None:
            self.executor = ThreadPoolExecutor(1, "obskit-response-flush")
        return self.executor

    def stop(self) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=False)


_current: _ResponseFlush | None = None


def flush_responses(flush: Flush | None, seconds: float = 0.0) -> None:
    """Have ``flush`` called with ``seconds`` before each response ends that is recorded, or comes after one whose spans
    could not leave in time; None: not any more."""
    global _current
    before, _current = _current, _ResponseFlush(flush, seconds) if flush is not None and seconds > 0 else None
    if before is not None:
        before.stop()
    if _current is None:
        hold_responses(None, None)
    else:
        hold_responses(_wanted, _current.deliver)


def _wanted(span: AnySpan) -> bool:
    """Return whether a response is to wait for what has ended: its span, or what others left."""
    return _current is not None and (type(span) is Span or _current.left)


async def deliver_async(exchange: ServerExchange | None) -> None:
    """Do what ``exchange.deliver`` does without blocking the event loop, which is asyncio's: under another, nothing."""
    if exchange is not None and exchange.prompt and exchange.over and _current is not None:
        await _current.deliver_async()


def ends_at(exchange: ServerExchange) -> float:
    """Return after how many bytes of its body the client has the whole response; infinite where it cannot know."""
    if exchange.method == "HEAD" or exchange.status in _BODYLESS:
        return 0
    return exchange.size if exchange.size is not None else float("inf")


def _forked() -> None:
    """Leave the thread to the parent, whose it is."""
    if _current is not None:
        _current.executor = None


on_fork(_forked)
