"""The profiler at a thousand samples a second under everything that may hurt it, for some minutes.

``python tests/benchmarks/profiler_soak.py [MINUTES]``, or ``make soak-profiler MINUTES=10``. Threads start and end all
the time, some recurse deeply, some stay in native code; processes fork off, take profiles of their own and leave by
every way; the profiler itself is stopped and started. Ends with status 1 after a crash, a hang, a failure inside
obskit, or growth of memory, threads or open files.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import obskit

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
LONGEST_CHILD = 30
MOST_GROWTH = 30 * 1024  # kilobytes
DATA = bytes(2_000_000)


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(50))


def dive(depth: int) -> None:
    if depth:
        dive(depth - 1)
    else:
        burn(0.001)


WORK = (lambda: burn(0.002), lambda: dive(700), lambda: hashlib.sha256(DATA).digest(), lambda: time.sleep(0.003))


def churn(end: float) -> None:
    """Start threads that do each kind of work, and wait for them."""
    while time.monotonic() < end:
        threads = [threading.Thread(target=work) for work in WORK]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def fork(number: int) -> None:
    """Have a child work for a moment, and leave in one of three ways."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(LONGEST_CHILD)  # one that hangs ends by it, which shows
        churn(time.monotonic() + 0.02 * (number % 5))
        if number % 3 == 0:
            os._exit(0)
        if number % 3 == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        done = obskit.shutdown(10)
        os._exit(0 if done else 3)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == (-signal.SIGKILL if number % 3 == 1 else 0), f"child {number} ended with {status}"


def state() -> tuple[int, int, int]:
    """Return memory in kilobytes, threads and open files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), int(status["Threads"]), len(os.listdir("/proc/self/fd"))


def start(folder: str) -> None:
    obskit.init(
        exporter="none", logs="off", service="soak", profiler="builtin", profiler_output=folder, profiler_hz=1000,
        profiler_duration=5, profiler_interval=5,
    )  # fmt: skip


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end = time.monotonic() + MINUTES * 60
    with tempfile.TemporaryDirectory() as folder:
        start(folder)
        early: tuple[int, int, int] | None = None
        number = 0
        while time.monotonic() < end:
            noise = threading.Thread(target=churn, args=(time.monotonic() + 2,))
            noise.start()
            while noise.is_alive():
                fork(number)
                number += 1
            if number % 4 == 0:
                obskit.shutdown(10)
                start(folder)
            if early is None and time.monotonic() > end - MINUTES * 60 * 2 / 3:
                early = state()
        profiles = len(os.listdir(folder))
        failures = obskit.stats()["failures"]
        assert obskit.shutdown(10)
        deadline = time.monotonic() + 10
        while (late := state())[1] > 1 and time.monotonic() < deadline:
            time.sleep(0.01)  # a thread's end takes the system its time
    print(f"{MINUTES} minutes: {number} forks, {profiles} profiles, {failures} failures, {early} -> {late}")
    assert early is not None
    assert failures == 0
    assert profiles
    assert late[0] - early[0] < MOST_GROWTH
    assert late[1] <= 1
    assert late[2] <= early[2]


if __name__ == "__main__":
    main()
