"""What can be set of a collector besides its address and storage. Names in capitals are those of Zipkin's server."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from obskit.zipkin.model import Span

_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Options:
    """How a collector behaves; the defaults are Zipkin's."""

    sample_rate: float = 1.0  # COLLECTOR_SAMPLE_RATE: the part of the traces that is kept
    strict_trace_id: bool = True  # STRICT_TRACE_ID: false for services that cut trace ids to 64 bits
    search_enabled: bool = True  # SEARCH_ENABLED: false answers traces by their ids alone
    autocomplete_keys: tuple[str, ...] = ()  # AUTOCOMPLETE_KEYS: tags whose values are listed
    max_line_bytes: int = 400 * 1024 * 1024  # of log lines; beyond, the oldest are deleted
    max_profile_bytes: int = 100 * 1024 * 1024  # the same of profiles
    token: str | None = None  # what every request must know; None asks for nothing

    @property
    def keep(self) -> Callable[[Span], bool] | None:
        """Which spans are kept; None where all are."""
        return self.keeps if self.sample_rate < 1.0 else None

    def keeps(self, span: Span) -> bool:
        """Return True for a span of a trace that is kept: by its id, so that all collectors keep the same ones."""
        if span.debug or self.sample_rate >= 1.0:
            return True
        low = int(span.trace_id[-16:], 16)
        distance = min(low, (1 << 64) - low, _LARGEST)  # of the signed number from zero
        return distance <= int(_float32(self.sample_rate) * 2**63)


def _float32(number: float) -> float:
    """Return the number with the precision that it has in Zipkin."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


DEFAULTS = Options()
