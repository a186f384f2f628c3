"""Call stacks, each stored once, and the recording of a sampler: threads, their stacks, how often, and CPU times.

Reading a stack costs three attributes a frame; names are looked up only at the end. Code objects and instruction
offsets are kept, never frames, which would keep the application's local variables alive.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any, NamedTuple

from obskit.base.pprof import Location
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.profiling.own_files import own_files
from obskit.profiling.request_finder import Reader, readers

DEEPEST = 256
_DEPTHS = range(DEEPEST)
_MOST_STACKS = 50_000
_OBSKIT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_SUSPENDS = (
    0x20 | 0x80 | 0x100 | 0x200
)  # inspect's CO_GENERATOR, CO_COROUTINE and other flags of functions that can be suspended


class Stack:
    """One call stack, innermost frame first: ``codes`` and the offset of the instruction each frame is at.

    ``readers`` are the frames that may know the request; if they are ``lasting``, the thread may outlive it. ``ours``:
    the thread is obskit's. ``cut``: the stack was deeper than ``DEEPEST``. ``torn``: the outermost frame cannot be one,
    as the thread ran while it was read, and a coroutine was suspended.
    """

    __slots__ = ("codes", "cut", "lasting", "offsets", "ours", "readers", "torn")

    def __init__(self, codes: list[CodeType], offsets: tuple[int, ...], cut: bool) -> None:
        self.codes = codes
        self.offsets = offsets
        self.cut = cut
        self.torn = not cut and bool(codes) and bool(codes[-1].co_flags & _SUSPENDS)
        self.ours = not cut and bool(codes) and codes[-1].co_filename.startswith(_OBSKIT)
        self.readers: tuple[Reader, ...] = readers(codes)
        self.lasting = all(reader.lasting for reader in self.readers)


CUT = Location(f"[more than {DEEPEST} frames]", "", 0, 0)
UNCOUNTED = Location("[too many different stacks]", "", 0, 0)


class StackTable:
    """All stacks of one profile. Beyond ``_MOST_STACKS``, ``overflow`` stands for the others."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[int, ...], list[Stack]] = {}
        self._size = 0
        self._codes: list[Any] = [None] * DEEPEST  # overwritten by each read: faster than lists that grow
        self._offsets = [0] * DEEPEST
        self._lines: dict[int, tuple[CodeType, dict[int, Location]]] = {}
        self._own: Mapping[str, str] | None = None
        self.overflow = Stack([], (), False)

    def read(self, innermost: FrameType) -> Stack:
        """Return the stack whose innermost frame is ``innermost``."""
        frame: Any = innermost
        codes, offsets = self._codes, self._offsets
        for depth in _DEPTHS:
            codes[depth] = frame.f_code
            offsets[depth] = frame.f_lasti
            frame = frame.f_back
            if frame is None:
                break
        size = depth + 1
        return self._find(codes[:size], tuple(offsets[:size]), frame is not None)

    def _find(self, codes: list[CodeType], offsets: tuple[int, ...], cut: bool) -> Stack:
        """Look up by the offsets: hashing code objects would cost more than reading the stack."""
        known = self._stacks.get(offsets)
        if known is None:
            known = self._stacks[offsets] = []
        for stack in known:
            if stack.codes == codes:
                return stack
        if self._size >= _MOST_STACKS:
            return self.overflow
        self._size += 1
        stack = Stack(codes, offsets, cut)
        known.append(stack)
        return stack

    def locations(self, stack: Stack) -> tuple[Location, ...]:
        """Return the functions and lines of a stack, innermost first."""
        if stack is self.overflow:
            return (UNCOUNTED,)
        if self._own is None:
            self._own = own_files()
        found = tuple(map(self._location, stack.codes, stack.offsets))
        return (*found, CUT) if stack.cut else found

    def _location(self, code: CodeType, offset: int) -> Location:
        known = self._lines.get(id(code))
        if known is None:
            known = self._lines[id(code)] = (code, {})  # holds the code object, so that its id is not reused
        location = known[1].get(offset)
        if location is None:
            location = known[1][offset] = _locate(code, offset, self._own or {})
        return location


def _locate(code: CodeType, offset: int, own: Mapping[str, str]) -> Location:
    name = getattr(code, "co_qualname", code.co_name)  # 3.11 and later
    file = code.co_filename
    return Location(name, own.get(file, file), code.co_firstlineno, line_at(code, offset))


def line_at(code: CodeType, offset: int) -> int:
    """Return the line of the instruction at ``offset``; the function's first line if it has none."""
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


class StackSamples:
    """The samples of one thread in one stack, for one request or none.

    ``count`` samples found it, after ``cpu`` nanoseconds of CPU time. ``still`` and ``ran`` count how often the thread
    was idle, or ran, in the moment after.
    """

    __slots__ = ("count", "cpu", "exchange", "ran", "stack", "still")

    def __init__(self, stack: Stack, exchange: ServerExchange | None) -> None:
        self.stack = stack
        self.exchange = exchange
        self.count = self.cpu = self.ran = self.still = 0


class SampledThread:
    """A thread as last sampled; ``since`` is when it came to its stack, in periods and samples."""

    __slots__ = ("clock", "cpu", "entries", "entry", "frame", "name", "offset", "since")

    def __init__(self, name: str, clock: int | None) -> None:
        self.name = name
        self.clock = clock
        self.cpu = 0
        self.since = (0, 0)
        self.frame = self.offset = -1  # the frame's id: a reference to the frame would keep its variables alive
        self.entry: StackSamples | None = None
        self.entries: dict[tuple[Stack, ServerExchange | None], StackSamples] = {}


class Recording(NamedTuple):
    """The data of a sampler that started at ``time_ns`` (epoch): number of ``samples``, and the ``periods`` they cover.

    A sample that came late stands for several periods.
    """

    threads: list[SampledThread]
    stacks: StackTable
    time_ns: int
    period_ns: int
    periods: int
    samples: int
