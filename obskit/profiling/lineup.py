"""Which threads have run since the last sample, told by their CPU clocks.

Nearly all of two hundred threads wait. Their clocks are read and compared in C, row against row, and nothing else of
them is touched: their memory left the processor's caches long ago, and fetching it is what a sample costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, compress, repeat
from operator import ne

from obskit.profiling.recording import SampledThread
from obskit.profiling.threads import read_clocks

_UNREAD = -2  # no clock says that


class Lineup:
    """The threads in a row, those without a clock at the end, and beside it a row of what their clocks said last.

    Where clocks are not ``fine``, one that stands still tells nothing.
    """

    def __init__(self, threads: Mapping[int, SampledThread], fine: bool) -> None:
        clocks = [(ident, thread.clock) for ident, thread in threads.items() if thread.clock is not None]
        blind = [ident for ident, thread in threads.items() if thread.clock is None]
        self._idents = [*(ident for ident, _ in clocks), *blind]
        self._threads = [threads[ident] for ident in self._idents]
        self._clocks = [clock for _, clock in clocks]
        self._blind = len(blind)
        self._telling = len(clocks) if fine else 0
        self._readings = [_UNREAD if thread.entry is None else thread.cpu for thread in self._threads]

    def moved(self) -> list[tuple[int, SampledThread, int]]:
        """Return the threads that may have run, each with its id and what its clock says now (ENDED, or 0 for none)."""
        readings = read_clocks(self._clocks)
        readings.extend(repeat(0, self._blind))
        told = self._telling
        rows = chain(compress(range(told), map(ne, readings, self._readings)), range(told, len(readings)))
        self._readings = readings
        return [(self._idents[row], self._threads[row], readings[row]) for row in rows]
