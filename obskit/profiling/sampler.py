"""Samples the stacks of all threads for a while: what each was doing, how long, and how much CPU time it took.

docs/profiler.md says what a sample costs.
"""

from __future__ import annotations

import random
import sys
from time import clock_gettime_ns, perf_counter_ns, time_ns
from types import FrameType
from typing import NamedTuple

from obskit.instrumentation.server import ServerExchange
from obskit.profiling.serving import read_exchange
from obskit.profiling.stacks import Stack, StackTable
from obskit.profiling.switching import switching
from obskit.profiling.threads import Identities, is_runnable
from obskit.profiling.turns import Stop
from obskit.tracing.native import original

_MOST_ENTRIES = 100_000
_PROBE_EVERY = 4  # samples
_PROBE_AFTER = 0.001  # seconds
_MANY = 3  # threads that compute by turns
_LONG = 10  # samples: for some a busy machine keeps a thread from a processor


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


class Sampler:
    """Samples on the thread that calls ``run``: once in each period, at a moment drawn anew. Makes one recording."""

    def __init__(self, hz: float, identities: Identities) -> None:
        self._period = int(1e9 / hz)
        self._identities = identities
        self._own = original("_thread", "get_ident")()
        self._stacks = StackTable()
        self._threads: dict[int, SampledThread] = {}
        self._moved: list[SampledThread] = []
        self._ended: list[SampledThread] = []
        self._entries = self._count = self._samples = self._used = 0
        self._contended = False
        self._time = time_ns()
        self._begun = self._last = perf_counter_ns()

    def run(self, duration: float, stop: Stop) -> Recording:
        """Sample for ``duration`` seconds, or until ``stop`` is asked."""
        self._first_look()
        periods = round(duration * 1e9 / self._period)
        draw = random.Random().random  # programs that do something every so often must not always look the same
        with switching as switch:
            while self._count < periods and not self._sleep_until(self._count + draw(), stop):
                now = perf_counter_ns()
                self.sample(min(periods, (now - self._begun) // self._period + 1))
                switch(not self._contended)
                if self._samples % _PROBE_EVERY == 0 and not self._contended and not stop.wait(_PROBE_AFTER):
                    self.probe()
        return self.finish()

    def _sleep_until(self, period: float, stop: Stop) -> bool:
        return stop.wait((self._begun + period * self._period - perf_counter_ns()) / 1e9)

    def _first_look(self) -> None:
        """Note every thread's CPU clock: only what they use from now on counts."""
        for ident in sys._current_frames():
            if ident != self._own:
                self._meet(ident, self._begun)

    def sample(self, count: int) -> None:
        """Look at each thread once, ``count`` periods after the beginning.

        A thread whose CPU clock stands still has not moved, whatever it waits for. Some systems' clocks are coarse:
        so the innermost frame is compared as well.
        """
        now = perf_counter_ns()
        frames = sys._current_frames()
        frames.pop(self._own, None)
        threads = self._threads
        self._moved.clear()
        self._used = 0
        for ident, frame in frames.items():
            thread = threads.get(ident)
            if thread is None:
                thread = self._meet(ident, now)
            try:
                cpu = clock_gettime_ns(thread.clock) if thread.clock is not None else 0
            except OSError:
                thread = self._meet_again(ident, now)  # another thread of the same id has ended
                cpu = thread.cpu
            if cpu != thread.cpu or thread.frame != id(frame) or thread.offset != frame.f_lasti:
                self._note(thread, frame, cpu)
        if len(threads) > len(frames):
            self._part(frames)
        self._contended = len(self._moved) >= _MANY and self._used * 2 > now - self._last
        self._samples += 1
        self._count = count
        self._last = now

    def _note(self, thread: SampledThread, frame: FrameType, cpu: int) -> None:
        """Enter what a thread does that has run since the last sample."""
        stack = self._stacks.read(frame)
        if stack.torn:
            return  # the next sample will find what it has used meanwhile
        exchange = read_exchange(frame, stack.readers) if stack.readers else None
        entry = thread.entries.get((stack, exchange)) or self._new_entry(thread, stack, exchange)
        entry.cpu += cpu - thread.cpu
        self._used += cpu - thread.cpu
        if entry is not thread.entry:
            self._leave(thread)
            thread.entry = entry
            thread.since = (self._count, self._samples)
        thread.cpu, thread.frame, thread.offset = cpu, id(frame), frame.f_lasti
        self._moved.append(thread)

    def probe(self) -> None:
        """See which of the threads that the last sample found to have run are still running: the others wait.

        One that waits for its turn to compute wakes up after each (short) switch interval, which shows, too.
        """
        for thread in self._moved:
            entry = thread.entry
            if entry is not None and thread.clock is not None:
                try:
                    ran = clock_gettime_ns(thread.clock) != thread.cpu
                except OSError:  # it has ended
                    continue
                entry.ran += ran
                entry.still += not ran and not is_runnable(thread.clock)

    def _new_entry(self, thread: SampledThread, stack: Stack, exchange: ServerExchange | None) -> Entry:
        """Return a new entry; where there are too many already, one for all the rest."""
        if self._entries >= _MOST_ENTRIES:
            stack, exchange = self._stacks.overflow, None
        entry = thread.entries.get((stack, exchange))
        if entry is None:
            entry = thread.entries[stack, exchange] = Entry(stack, exchange)
            self._entries += 1
        return entry

    def _meet(self, ident: int, now: int) -> SampledThread:
        """Begin with a thread. One that is new has used all its CPU time since the last sample."""
        thread = SampledThread(*self._identities.find(ident))
        try:
            used = clock_gettime_ns(thread.clock) if thread.clock is not None else 0
        except OSError:
            thread.clock = None  # not its id, or it has just ended
            used = 0
        thread.cpu = max(0, used - (now - self._last))
        self._threads[ident] = thread
        return thread

    def _meet_again(self, ident: int, now: int) -> SampledThread:
        self._end(ident)
        return self._meet(ident, now)

    def _part(self, frames: dict[int, FrameType]) -> None:
        for ident in self._threads.keys() - frames.keys():
            self._end(ident)

    def _end(self, ident: int) -> None:
        thread = self._threads.pop(ident)
        self._leave(thread)
        if thread.entries:
            self._ended.append(thread)

    def _leave(self, thread: SampledThread) -> None:
        """Count the samples that found a thread where it was; where it stays for long, it waits."""
        if thread.entry is not None:
            count, samples = thread.since
            thread.entry.count += self._count - count
            thread.entry.still += max(0, self._samples - samples - _LONG)
            thread.entry = None

    def finish(self) -> Recording:
        """Return what was seen."""
        for ident in list(self._threads):
            self._end(ident)
        return Recording(self._ended, self._stacks, self._time, self._period, self._count, self._samples)
