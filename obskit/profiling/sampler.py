"""Samples the stacks of all threads for a while: what each did, for how long, and with how much CPU time.

docs/profiler.md has the cost of a sample. CPU clocks tell which threads have run since the last one: of two hundred
threads nearly all wait. All clocks are read and compared in C, and nothing else of waiting threads is touched, since
their memory is not in the processor's caches, and fetching it is the main cost of a sample.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from itertools import chain, compress, repeat
from operator import ne
from time import clock_gettime_ns, perf_counter_ns, time_ns
from types import FrameType

from obskit.base.native_threads import original
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.profiling.outputs import Stop
from obskit.profiling.request_finder import read_exchange
from obskit.profiling.stacks import Recording, SampledThread, Stack, StackSamples, StackTable
from obskit.profiling.threads import ENDED, Identities, clocks_are_fine, is_runnable, read_clocks, switching

_UNREAD = -2  # a value that no clock has


class ThreadClocks:
    """The threads in a list, those without a clock at the end, with a parallel list of their clocks' last values.

    If clocks are not ``fine``, an unchanged clock proves nothing.
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
        """Return the threads that may have run, each with its id and its clock's value (ENDED; 0 without a clock)."""
        readings = read_clocks(self._clocks)
        readings.extend(repeat(0, self._blind))
        told = self._telling
        rows = chain(compress(range(told), map(ne, readings, self._readings)), range(told, len(readings)))
        self._readings = readings
        return [(self._idents[row], self._threads[row], readings[row]) for row in rows]


_MOST_ENTRIES = 100_000
_PROBE_EVERY = 4  # samples
_PROBE_AFTER = 0.001  # seconds
_MANY = 3  # threads that compute in turn
_LONG = 10  # samples: on a busy machine a thread may have to wait for a processor for some of them

_Moment = tuple[int, int]  # a time as the numbers of periods and samples since the beginning


class Sampler:
    """Samples on the thread that calls ``run``, once at a random time of each period. Makes one recording."""

    def __init__(self, hz: float, identities: Identities) -> None:
        self._period = int(1e9 / hz)
        self._identities = identities
        self._own = original("_thread", "get_ident")()
        self._stacks = StackTable()
        self._threads: dict[int, SampledThread] = {}
        self._idents: list[int] = []
        self._fine = clocks_are_fine()
        self._thread_clocks: ThreadClocks | None = None
        self._moved: list[SampledThread] = []
        self._lasting: dict[
            SampledThread, _Moment
        ] = {}  # threads working for a request that they may outlive, and when they last moved
        self._ended: list[SampledThread] = []
        self._entries = self._count = self._samples = self._used = 0
        self._contended = False
        self._time = time_ns()
        self._begun = self._last = perf_counter_ns()

    def run(self, duration: float, stop: Stop) -> Recording:
        """Sample for ``duration`` seconds, or until ``stop`` is set."""
        self._first_look()
        periods = round(duration * 1e9 / self._period)
        draw = random.Random().random  # random, so as not to be in step with periodic work of the program
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
        """Read every thread's CPU clock: only CPU time from now on counts."""
        for ident in sys._current_frames():
            if ident != self._own:
                self._meet(ident, self._begun)

    def sample(self, count: int) -> None:
        """Examine each thread once, ``count`` periods after the beginning.

        A thread whose CPU clock is unchanged has not moved. On systems with coarse clocks, the innermost frame is
        compared as well.
        """
        now = perf_counter_ns()
        frames = sys._current_frames()
        frames.pop(self._own, None)
        clocks = self._thread_clocks
        if clocks is None or list(frames) != self._idents:
            clocks = self._thread_clocks = self._clocks_of(frames, now)
        self._moved.clear()
        self._used = 0
        for ident, seen, cpu in clocks.moved():
            frame = frames[ident]
            thread = self._meet_again(ident, now) if cpu == ENDED else seen
            if cpu != thread.cpu or thread.frame != id(frame) or thread.offset != frame.f_lasti:
                self._note(thread, frame, thread.cpu if cpu == ENDED else cpu)
        if self._lasting:
            self._part_from_requests((count, self._samples + 1))
        self._contended = len(self._moved) >= _MANY and self._used * 2 > now - self._last
        self._samples += 1
        self._count = count
        self._last = now

    def _clocks_of(self, frames: dict[int, FrameType], now: int) -> ThreadClocks:
        """Add new threads, and remove those that have ended."""
        for ident in self._threads.keys() - frames.keys():
            self._end(ident)
        for ident in frames.keys() - self._threads.keys():
            self._meet(ident, now)
        self._idents = list(frames)
        return ThreadClocks(self._threads, self._fine)

    def _note(self, thread: SampledThread, frame: FrameType, cpu: int) -> None:
        """Record what a thread does that has run since the last sample."""
        stack = self._stacks.read(frame)
        if stack.torn:
            self._thread_clocks = (
                None  # so that the next sample examines it again, and includes the CPU time used meanwhile
            )
            return
        exchange = read_exchange(frame, stack.readers) if stack.readers else None
        entry = thread.entry
        if entry is None or entry.stack is not stack or entry.exchange is not exchange:
            entry = self._move(thread, stack, exchange)
        used = cpu - thread.cpu
        entry.cpu += used
        self._used += used
        thread.cpu, thread.frame, thread.offset = cpu, id(frame), frame.f_lasti
        self._moved.append(thread)

    def _move(
        self, thread: SampledThread, stack: Stack, exchange: ServerExchange | None, at: _Moment | None = None
    ) -> StackSamples:
        """Return the entry of a thread's current stack, and close the one it had since ``at``, if another."""
        entry = thread.entries.get((stack, exchange)) or self._new_entry(thread, stack, exchange)
        if entry is not thread.entry:
            at = at or (self._count, self._samples)
            self._leave(thread, at)
            thread.entry = entry
            thread.since = at
            if exchange is not None and stack.lasting:
                self._lasting[thread] = at
        return entry

    def _part_from_requests(self, now: _Moment) -> None:
        """Detach threads started by a request from it, once the request is over and the thread is idle."""
        for thread, moved in list(self._lasting.items()):
            entry = thread.entry
            if entry is None or entry.exchange is None:
                del self._lasting[thread]
            elif thread in self._moved or not entry.exchange.over:
                self._lasting[thread] = now
            elif now[1] - moved[1] > _LONG:
                self._move(thread, entry.stack, None, moved)

    def probe(self) -> None:
        """Find out which of the threads that had run at the last sample are still running: the others wait.

        One that waits for the interpreter lock wakes up after each (short) switch interval, so its clock moves, too.
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

    def _new_entry(self, thread: SampledThread, stack: Stack, exchange: ServerExchange | None) -> StackSamples:
        """Return a new entry; if there are too many already, one for all the rest."""
        if self._entries >= _MOST_ENTRIES:
            stack, exchange = self._stacks.overflow, None
        entry = thread.entries.get((stack, exchange))
        if entry is None:
            entry = thread.entries[stack, exchange] = StackSamples(stack, exchange)
            self._entries += 1
        return entry

    def _meet(self, ident: int, now: int) -> SampledThread:
        """Add a thread. A new one has used all of its CPU time since the last sample."""
        thread = SampledThread(*self._identities.find(ident))
        try:
            used = clock_gettime_ns(thread.clock) if thread.clock is not None else 0
        except OSError:
            thread.clock = None  # the id is wrong, or the thread has just ended
            used = 0
        thread.cpu = max(0, used - (now - self._last))
        self._threads[ident] = thread
        return thread

    def _meet_again(self, ident: int, now: int) -> SampledThread:
        """Add a thread whose id was that of an ended one."""
        self._thread_clocks = None
        self._end(ident)
        return self._meet(ident, now)

    def _end(self, ident: int) -> None:
        thread = self._threads.pop(ident)
        self._leave(thread, (self._count, self._samples))
        if thread.entries:
            self._ended.append(thread)

    def _leave(self, thread: SampledThread, at: _Moment) -> None:
        """Count the samples that found a thread where it was; if it stays for long, it waits."""
        self._lasting.pop(thread, None)
        if thread.entry is not None:
            count, samples = thread.since
            thread.entry.count += at[0] - count
            thread.entry.still += max(0, at[1] - samples - _LONG)
            thread.entry = None

    def finish(self) -> Recording:
        """Return the recording."""
        for ident in list(self._threads):
            self._end(ident)
        return Recording(self._ended, self._stacks, self._time, self._period, self._count, self._samples)
