"""What a sampler saw: which threads there were, where they were found, how often, and what CPU time they took."""

from __future__ import annotations

from typing import NamedTuple

from obskit.instrumentation.server import ServerExchange
from obskit.profiling.stacks import Stack, StackTable


class Entry:
    """What was seen of one thread in one stack, serving one request or none.

    ``count`` samples found it, and it took ``cpu`` nanoseconds up to then. ``still`` and ``ran`` tell how often the
    thread did nothing, or something, in the moment after.
    """

    __slots__ = ("count", "cpu", "exchange", "ran", "stack", "still")

    def __init__(self, stack: Stack, exchange: ServerExchange | None) -> None:
        self.stack = stack
        self.exchange = exchange
        self.count = self.cpu = self.ran = self.still = 0


class SampledThread:
    """A thread, as last seen; it has been where it is ``since`` so many periods and samples."""

    __slots__ = ("clock", "cpu", "entries", "entry", "frame", "name", "offset", "since")

    def __init__(self, name: str, clock: int | None) -> None:
        self.name = name
        self.clock = clock
        self.cpu = 0
        self.since = (0, 0)
        self.frame = self.offset = -1  # the frame's id: holding the frame itself would keep its variables alive
        self.entry: Entry | None = None
        self.entries: dict[tuple[Stack, ServerExchange | None], Entry] = {}


class Recording(NamedTuple):
    """What a sampler saw, begun at ``time_ns`` (epoch): ``samples`` looks, and ``periods`` that they stand for.

    The numbers differ where a sample came so late that it stands for several.
    """

    threads: list[SampledThread]
    stacks: StackTable
    time_ns: int
    period_ns: int
    periods: int
    samples: int
