"""Many calls of init(), and then no thread to be had."""

import os
import resource
import threading
import time

from side import flush, note, span

import obskit

ROOT = os.getuid() == 0


def threads():
    return len(os.listdir("/proc/self/task"))


def wait(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def delivered():
    return sum(one["delivered"] for one in obskit.stats()["exporters"])


def none_can_start():
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        return True
    return False


with span("before"):
    pass
flush(5)
before = threads()  # with the worker, and the thread that waits for SIGTERM
for number in range(1000):
    obskit.init(service=f"battery {number % 2}")
    if number % 100 == 0:
        with span("between"):
            pass
with span("first"):
    pass
flush(5)
wait(lambda: threads() <= before)  # those that were replaced end
note(more=threads() - before)
obskit.shutdown()
obskit.init(service="battery", flush_interval=0.0)

_, hard = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
if ROOT:
    os.setresuid(54321, 54321, 0)  # root has no limit
exhausted = none_can_start()
with span("without a thread"):
    pass
flushed = flush(5)
if ROOT:
    os.setresuid(0, 0, 0)
resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
note(exhausted=exhausted, flushed=flushed)
with span("with a thread again"):
    pass
wait(lambda: delivered() >= 2)
note(more_after=threads() - before)
