"""CPU time, which the machine's other work does not enter."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time, thread_time

Figures = dict[str, float]
"""Microseconds per operation, by what was measured."""


def run(work: Callable[[], object]) -> object:
    """Run the part of a block that is measured. Where instructions are counted, a marked call takes its place."""
    return work()


Block = Callable[[], Figures]
"""Does some operations of one side, leaves nothing to be paid later, and returns what one of them cost."""

FOREGROUND = "application's thread"
ALL = "all threads"


def timed(count: int, work: Callable[[], object], settle: Callable[[], object] | None = None) -> Figures:
    """Run ``work``, which does ``count`` operations.

    One figure is its own thread's CPU time, the other all threads' until ``settle`` has left nothing to be paid later.
    """
    process, thread = process_time(), thread_time()
    run(work)
    figures = {FOREGROUND: (thread_time() - thread) / count * 1e6}
    if settle is not None:
        settle()
        figures[ALL] = (process_time() - process) / count * 1e6
    return figures
