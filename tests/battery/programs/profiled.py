"""Native polls, dying threads and forks for SECONDS, with a handler of one's own for the profiler's signal."""

import ctypes
import os
import signal
import sys
import threading
import time

POLL = 20  # milliseconds


def mine(*_):
    raise AssertionError("not for me")


signal.signal(signal.SIGPROF, mine)

import side  # noqa: E402, F401 - the library starts when the handler is there
from side import note  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)
over = threading.Event()
results = []


def poll():
    return 0 if libc.poll(None, 0, POLL) == 0 else ctypes.get_errno()


def keep_polling():
    while not over.is_set():
        results.append(poll())


def fork():
    child = os.fork()
    if child == 0:
        sum(range(100_000))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


pollers = [threading.Thread(target=keep_polling) for _ in range(2)]
for thread in pollers:
    thread.start()
end = time.monotonic() + float(sys.argv[1])
forks = deaths = 0
while time.monotonic() < end:
    thread = threading.Thread(target=sum, args=[range(1000)])
    thread.start()
    thread.join()
    deaths += 1
    if deaths % 100 == 0:
        fork()
        forks += 1
over.set()
for thread in pollers:
    thread.join()
results += [poll() for _ in range(20)]
print(sorted(set(results)))
if "obskit" in sys.modules:
    sys.modules["obskit"].shutdown(unpatch=True)
print(signal.getsignal(signal.SIGPROF) is mine)
note(forks=forks, deaths=deaths, polls=len(results))
