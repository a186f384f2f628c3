"""What became of the traces that are not simply recorded."""

from __future__ import annotations

from obskit.tracing.tally import Tally


def _shown(tallies: dict[str, Tally]) -> dict[str, int]:
    return {name: tally.value for name, tally in tallies.items() if tally.value}


class Counts:
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
