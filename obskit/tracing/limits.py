"""How much one span may hold: OpenTelemetry's span limits, and a bound for each value where those set none."""

from __future__ import annotations

from obskit.base.records import NamedTuple

SMALL = 256
"""A value of up to so many characters takes so much of a queue; a longer one its length."""

DEFAULT_COUNT = 128
UNLIMITED = 2**31
LONGEST_VALUE = 2**20
"""Characters of a value where no limit is set: a queue of the default size then takes the span of any one value."""


class LimitSettings(NamedTuple):
    """How many there may be of each, and how long a text may be: as attribute of a span, and of anything else."""

    attributes: int = DEFAULT_COUNT
    events: int = DEFAULT_COUNT
    links: int = DEFAULT_COUNT
    event_attributes: int = DEFAULT_COUNT
    link_attributes: int = DEFAULT_COUNT
    length: int = LONGEST_VALUE
    other_length: int = LONGEST_VALUE


class SpanLimits:
    """The limits of this process, changed in place when it is configured.

    ``short`` is the length up to which text is kept without a look at anything else.
    """

    __slots__ = (*LimitSettings._fields, "short")

    attributes: int
    events: int
    links: int
    event_attributes: int
    link_attributes: int
    length: int
    other_length: int
    short: int

    def use(self, counts: LimitSettings) -> None:
        """Keep to ``counts`` from now on."""
        for name, value in counts._asdict().items():
            setattr(self, name, value)
        self.short = min(SMALL, counts.length)


limits = SpanLimits()
limits.use(LimitSettings())
