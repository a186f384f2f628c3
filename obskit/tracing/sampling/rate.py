"""The share of new traces that is kept: a function of the trace id, so that services with equal rates agree.

What became of the traces that are not simply recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from opentelemetry.trace import SpanKind

from obskit.base.failures import Tally


def _shown(tallies: dict[str, Tally]) -> dict[str, int]:
    return {name: tally.value for name, tally in tallies.items() if tally.value}


class SamplingCounts:
    """One process's counters.

    Every trace whose fate is decided here ends in the spans produced, in ``sampled_out``, or in one of ``limited``.
    """

    def __init__(self) -> None:
        self.sampled_out = Tally()
        self.limited = {name: Tally() for name in ("sample_limit", "rule_limit", "inbound_limit", "backpressure")}
        self.kept = {name: Tally() for name in ("error", "slow")}
        self.not_held = Tally()
        self.spans_lost = Tally()

    def snapshot(self) -> dict[str, object]:
        """Return the counters by name; of ``limited`` and ``kept``, those that are not zero."""
        return {
            "limited": _shown(self.limited),
            "kept": _shown(self.kept),
            "not_held": self.not_held.value,
            "spans_lost": self.spans_lost.value,
        }


Refusal = Literal[False] | Tally
"""No: a Tally is what counts such traces, False leaves the counting to the caller."""

Verdict = Literal[True] | Refusal
"""Whether a trace is recorded."""

Sampler = Callable[[str, str, SpanKind, dict[str, Any]], Verdict]
"""Takes a trace id (hex text) and the name, kind and tags of its first span here; decides where nobody has yet."""

TraceIdSampler = Callable[..., Verdict]
"""A Sampler that looks at the trace id only; the rest may be left out."""

_MAX = 2**63 - 1
_ANY = SpanKind.INTERNAL
_LOOK_EVERY = 32


def _nothing() -> None:
    return


def rate_sampler(rate: float, look: Callable[[], object] = _nothing) -> TraceIdSampler:
    """Return a sampler that keeps the share ``rate`` (0.0 to 1.0) of all traces.

    The rule is that of Zipkin's collector (COLLECTOR_SAMPLE_RATE): the low 64 bits, read as a signed number,
    are at most ``rate`` of the largest one by absolute value. A lower rate keeps a part of what a higher one keeps.

    ``look`` is called for about one trace in thirty: threads may miscount, which matters less than a lock would.
    """
    if rate <= 0:
        return _drop
    boundary = int(_MAX * rate)
    left = 0

    def keep(_trace_id: str, _name: str = "", _kind: SpanKind = _ANY, _tags: object = None) -> Verdict:
        nonlocal left
        left -= 1
        if left < 0:
            left = _LOOK_EVERY - 1
            look()
        return True

    def sample(trace_id: str, _name: str = "", _kind: SpanKind = _ANY, _tags: object = None) -> Verdict:
        return keep(trace_id) and _position(trace_id) <= boundary

    return keep if rate >= 1 else sample


def lowered_sampler(rate: float, factor: float, refused: Tally) -> TraceIdSampler:
    """Return a sampler that keeps ``factor`` of what ``rate`` keeps, and counts the rest of that in ``refused``."""
    boundary, lower = int(_MAX * min(rate, 1.0)), int(_MAX * min(rate, 1.0) * factor)

    def sample(trace_id: str, _name: str = "", _kind: SpanKind = _ANY, _tags: object = None) -> Verdict:
        position = _position(trace_id)
        return position <= lower or (refused if position <= boundary else False)

    return sample


def _drop(_trace_id: str, _name: str = "", _kind: SpanKind = _ANY, _tags: object = None) -> Verdict:
    return False


def _position(trace_id: str) -> int:
    low = int(trace_id[-16:], 16)
    return low if low <= _MAX else 2**64 - low
