"""What tests of a configured obskit share: after each, it is shut down and as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import obskit
from obskit.base import failures
from obskit.instrumentation.tracer import propagator, provider
from obskit.tracing.sampling import rate_sampler


@pytest.fixture
def fresh() -> Iterator[None]:
    """Leave obskit as it was found."""
    saved = propagator.formats
    failures._logged.clear()
    yield
    obskit.shutdown(timeout=5, unpatch=True)
    provider.sampler = rate_sampler(1.0)
    provider.report_to()
    propagator.use(saved)
