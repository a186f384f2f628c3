"""Which new traces are kept: a pure function of the trace id, so that services with equal rates agree."""

from __future__ import annotations

from collections.abc import Callable

Sampler = Callable[[str], bool]
"""Takes a trace id (hex text) and says whether a trace nobody has decided on yet is recorded."""

_MAX = 2**63 - 1


def _keep(_trace_id: str) -> bool:
    return True


def _drop(_trace_id: str) -> bool:
    return False


def rate_sampler(rate: float) -> Sampler:
    """Return a sampler that keeps the share ``rate`` (0.0 to 1.0) of all traces.

    The rule is that of Zipkin's collector (COLLECTOR_SAMPLE_RATE): the low 64 bits, read as a signed number,
    are at most ``rate`` of the largest one by absolute value.
    """
    if rate >= 1:
        return _keep
    if rate <= 0:
        return _drop
    boundary = int(_MAX * rate)

    def sample(trace_id: str) -> bool:
        low = int(trace_id[-16:], 16)
        return (low if low <= _MAX else 2**64 - low) <= boundary

    return sample
