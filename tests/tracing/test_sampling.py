"""A rate keeps its share, and the same traces in every service."""

from __future__ import annotations

import pytest

from obskit.tracing.ids import new_trace_id
from obskit.tracing.sampling import rate_sampler


def test_rates_of_zero_and_one_are_exact():
    assert not rate_sampler(0.0)(new_trace_id())
    assert rate_sampler(1.0)(new_trace_id())


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_rate_keeps_its_share(rate):
    sampler = rate_sampler(rate)
    kept = sum(sampler(new_trace_id()) for _ in range(20_000))
    assert abs(kept / 20_000 - rate) < 0.02


@pytest.mark.parametrize(
    ("low_half", "kept"),
    [
        ("0000000000000000", True),
        ("3fffffffffffffff", True),
        ("4000000000000001", False),
        ("7fffffffffffffff", False),
        ("8000000000000000", False),
        ("8000000000000001", False),
        ("c000000000000001", True),
        ("ffffffffffffffff", True),
    ],
)
def test_the_boundary_is_that_of_zipkins_collector(low_half, kept):
    """The low 64 bits count as a signed number, by absolute value; the high half says nothing."""
    sampler = rate_sampler(0.5)
    assert sampler(low_half) is sampler("f" * 16 + low_half) is kept
