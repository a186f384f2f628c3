"""The tracer and the propagator that every integration works with; configured in place by the runtime."""

from __future__ import annotations

from obskit.propagation.propagator import Propagator
from obskit.tracing.provider import TracerProvider
from obskit.tracing.tracer import OWN_SCOPE

provider = TracerProvider()
tracer = provider.get_tracer(OWN_SCOPE)
propagator = Propagator()
