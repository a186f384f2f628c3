"""The decision on new traces, put together from the options once, and again as the pressure changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from obskit.base.failures import Tally
from obskit.base.records import NamedTuple
from obskit.tracing.sampling.limiter import Limiter, Pressure
from obskit.tracing.sampling.rate import Sampler, SamplingCounts, TraceIdSampler, Verdict, lowered_sampler, rate_sampler

if TYPE_CHECKING:
    from obskit.tracing.sampling.rules import Condition, Rule


class SamplingOptions(NamedTuple):
    """What the program asked for; see the settings of these names."""

    rate: float = 1.0
    rules: tuple[Rule, ...] = ()
    limit: int | None = None
    inbound_limit: int | None = None
    keep_errors: bool = False
    keep_slow: float | None = None
    backpressure: bool = False
    service: str = ""


class Head:
    """Makes the sampler of ``options``, and has ``install`` called with it: now, and whenever the pressure changes.

    ``fill`` says how full the queue of spans is, 0 to 1.
    """

    def __init__(
        self,
        options: SamplingOptions,
        counts: SamplingCounts,
        fill: Callable[[], float],
        install: Callable[[Sampler], object],
    ) -> None:
        self._rate = options.rate
        self._counts = counts
        self._install = install
        self._rules = _compiled(options) if options.rules else []
        self._limiter = None if options.limit is None else Limiter(options.limit)
        self._pressure = Pressure(fill, self._apply) if options.backpressure else None
        self._apply(1.0)

    def look(self) -> None:
        """Adapt to the queue now; else new traces see to it."""
        if self._pressure is not None:
            self._pressure.look()

    def snapshot(self) -> dict[str, object]:
        """Return the rate that was asked for, the one that applies, and why they differ."""
        self.look()
        factor = 1.0 if self._pressure is None else self._pressure.factor
        reason = None if factor == 1 else "backpressure"
        return {"rate": self._rate, "effective_rate": self._rate * factor, "reason": reason}

    def _apply(self, factor: float) -> None:
        sampler = self._sampler(factor)
        self._install(sampler if factor == 1 else _looking(self.look, sampler))

    def _sampler(self, factor: float) -> Sampler:
        sampler: Sampler = self._at(self._rate, factor)
        if self._rules:
            from obskit.tracing.sampling.rules import rules_sampler

            sampler = rules_sampler([self._ruled(*compiled, factor) for compiled in self._rules], sampler)
        return _limited(sampler, self._limiter, self._counts.limited["sample_limit"])

    def _ruled(
        self, holds: Condition, rate: float, limiter: Limiter | None, factor: float
    ) -> tuple[Condition, Sampler]:
        return holds, _limited(self._at(rate, factor), limiter, self._counts.limited["rule_limit"])

    def _at(self, rate: float, factor: float) -> TraceIdSampler:
        if factor < 1:
            return lowered_sampler(rate, factor, self._counts.limited["backpressure"])
        return rate_sampler(rate) if self._pressure is None else rate_sampler(rate, self._pressure.look)


def inbound_limiter(limit: int | None, counts: SamplingCounts) -> Callable[[], Verdict] | None:
    """Return what decides on a trace that its caller wants recorded; None where callers are always right."""
    if limit is None:
        return None
    limiter, refused = Limiter(limit), counts.limited["inbound_limit"]
    return lambda: limiter() or refused


def _compiled(options: SamplingOptions) -> list[tuple[Condition, float, Limiter | None]]:
    from obskit.tracing.sampling.rules import applies_to, condition  # most programs have no rules

    return [
        (condition(rule), rule.rate, None if rule.limit is None else Limiter(rule.limit))
        for rule in options.rules
        if applies_to(rule, options.service)
    ]


def _limited(sampler: Sampler, limiter: Limiter | None, refused: Tally) -> Sampler:
    """Return ``sampler`` with a limit to what it keeps."""
    if limiter is None:
        return sampler

    def sample(*about: object) -> Verdict:
        verdict = sampler(*about)  # type: ignore[arg-type]
        return verdict if verdict is not True else limiter() or refused

    return sample


def _looking(look: Callable[[], object], sampler: Sampler) -> Sampler:
    """Return ``sampler``, each time after a look at the queue."""

    def sample(*about: object) -> Verdict:
        look()
        return sampler(*about)  # type: ignore[arg-type]

    return sample
