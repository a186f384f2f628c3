"""Records spans in tests, those of obskit and of its users."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanKind

from obskit.instrumentation.tracer import propagator, provider
from obskit.tracing.current import current_span
from obskit.tracing.propagated import NOOP_SPAN
from obskit.tracing.sampling import rate_sampler
from obskit.tracing.span import Span


class Recorder:
    """Collects ended spans in order. A test must take each of them; see ``assert_empty``."""

    def __init__(self) -> None:
        self._spans: queue.SimpleQueue[Span] = queue.SimpleQueue()
        self.record = self._spans.put

    def take(self, kind: SpanKind | None = None, *, error: str | None = None, timeout: float = 5.0) -> Span:
        """Return the next ended span, waiting up to ``timeout`` seconds.

        Its kind must be ``kind``; its ``error`` tag must contain ``error``, and be absent where ``error`` is None:
        with both named, a test cannot pass on the wrong span. Raises AssertionError otherwise.
        """
        try:
            span = self._spans.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no span ended within {timeout} s") from None
        assert kind is None or span.kind is kind, f"expected {kind}, got {span.kind} {span}"
        found = span.tags.get("error")
        assert (found is None) == (error is None), f"error={found!r} of {span}"
        assert (error or "") in str(found), f"error={found!r} of {span}"
        return span

    def assert_empty(self) -> None:
        """Raise AssertionError if a span has ended that the test did not take."""
        assert self._spans.empty(), f"unexpected {self._spans.get()}"


@contextmanager
def recording(sample_rate: float = 1.0, propagation: tuple[str, ...] = ("b3multi",)) -> Iterator[Recorder]:
    """Send ended spans to a Recorder instead of the exporters for the length of the block.

    At its end all spans must have been taken, and none may be current.
    """
    recorder = Recorder()
    saved = provider.report, provider.sampler, propagator.formats
    provider.report, provider.sampler = recorder.record, rate_sampler(sample_rate)
    propagator.use(propagation)
    try:
        yield recorder
        recorder.assert_empty()
        assert current_span() is NOOP_SPAN, f"{current_span()} is still current"
    finally:
        provider.report, provider.sampler = saved[0], saved[1]
        propagator.use(saved[2])
