"""Which threads the sampler looks at: those whose CPU clock has moved, and those whose clock tells nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from obskit.profiling.sampler import ThreadClocks
from obskit.profiling.stacks import SampledThread, StackSamples, StackTable
from obskit.profiling.threads import ENDED, HAS_CPU_CLOCKS, Identities, clocks_are_fine, read_clocks

pytestmark = pytest.mark.skipif(not HAS_CPU_CLOCKS, reason="only Linux tells the CPU time of each thread")


@contextmanager
def waiting(number: int) -> Iterator[list[threading.Thread]]:
    """Give threads that wait until the block ends, and have gone to sleep."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, args=(60,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    clocks = [clock_of(thread) for thread in threads]
    deadline = time.monotonic() + 20
    before = None
    while before != (before := read_clocks(clocks)) and time.monotonic() < deadline:
        time.sleep(0.05)
    yield threads
    end.set()
    for thread in threads:
        thread.join()


def clock_of(thread: threading.Thread) -> int:
    clock = Identities().find(thread.ident or 0)[1]
    assert clock is not None
    return clock


def sampled(clock: int | None) -> SampledThread:
    """Return a thread as it is once a sample has found it."""
    thread = SampledThread("name", clock)
    thread.cpu = read_clocks([clock])[0] if clock is not None else 0
    thread.entry = StackSamples(StackTable().read(sys._getframe()), None)
    return thread


def test_of_threads_that_wait_and_one_that_computes_only_the_latter_has_run() -> None:
    with waiting(3) as threads:
        me = threading.current_thread()
        clocks = ThreadClocks({thread.ident or 0: sampled(clock_of(thread)) for thread in (*threads, me)}, fine=True)
        sum(range(100_000))
        assert [ident for ident, _, _ in clocks.moved()] == [me.ident]
        sum(range(100_000))
        [(_, thread, cpu)] = clocks.moved()
        assert cpu > thread.cpu


def test_a_thread_that_no_sample_has_found_yet_is_looked_at_though_it_waits() -> None:
    with waiting(1) as [thread]:
        new = sampled(clock_of(thread))
        new.entry = None
        clocks = ThreadClocks({1: new}, fine=True)
        assert [ident for ident, _, _ in clocks.moved()] == [1]
        assert clocks.moved() == []


def test_threads_without_a_clock_and_those_of_coarse_clocks_are_looked_at_each_time() -> None:
    with waiting(1) as [thread]:
        threads = {1: sampled(None), 2: sampled(clock_of(thread))}
        for fine, looked_at in ((True, [1]), (False, [2, 1])):
            clocks = ThreadClocks(threads, fine)
            for _ in range(2):
                assert [(ident, cpu) for ident, _, cpu in clocks.moved()] == [(n, threads[n].cpu) for n in looked_at]


def test_a_clock_whose_thread_has_ended_says_so_and_the_others_are_read() -> None:
    with waiting(2) as [first, second]:
        clocks = [clock_of(first), clock_of(second)]
        ended = threading.Thread(target=lambda: clocks.insert(1, clock_of(threading.current_thread())))
        ended.start()
        ended.join()
        deadline = time.monotonic() + 20  # joined is not yet gone for the system
        while (readings := read_clocks(clocks))[1] != ENDED and time.monotonic() < deadline:
            time.sleep(0.001)
        assert readings[1] == ENDED
        assert readings[0] > 0
        assert readings[2] > 0
    assert read_clocks([]) == []


def test_clocks_of_ticks_are_not_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of gVisor stand still for 10 ms."""
    ticks = iter([0] * 4 + [10_000_000] * 6)
    monkeypatch.setattr("obskit.profiling.threads.thread_time_ns", lambda: next(ticks))
    assert not clocks_are_fine()
