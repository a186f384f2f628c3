"""Which traces are kept: by a rate, by rules, within limits, less of them under pressure, and those that went wrong."""

from obskit.tracing.sampling.rate import Sampler, Verdict, rate_sampler

__all__ = ["Sampler", "Verdict", "rate_sampler"]
