"""Forks while eight threads make spans and log; each child says how long after the fork its first line ran.

What it waited for other programs does not count.
"""

import logging
import os
import threading
import time

from side import flush, note, span, waited_for_a_processor

FORKS = 500


class Unbuffered(logging.Handler):
    """Writes without a buffer: that of a file may be locked at a fork, and CPython itself hangs then."""

    out = os.open(os.devnull, os.O_WRONLY)

    def emit(self, record):
        os.write(self.out, self.format(record).encode())


log = logging.getLogger("storm")
log.addHandler(Unbuffered())
over = threading.Event()
counts = [0] * 8


def work(number):
    while not over.wait(0.001):
        with span("thread"):
            log.warning("in a thread")
        counts[number] += 1


def first_line_of_a_child():
    read, write = os.pipe()
    begin = time.monotonic()
    if os.fork() == 0:
        with span("child"):
            log.warning("in a child")
        os.write(write, str(time.monotonic() - begin - waited_for_a_processor()).encode())
        flush(10)
        os._exit(0)
    seconds = float(os.read(read, 100))
    os.close(read)
    os.close(write)
    os.wait()
    return seconds


threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
for thread in threads:
    thread.start()
waits = sorted(first_line_of_a_child() for _ in range(FORKS))
over.set()
for thread in threads:
    thread.join()
note(p99=waits[FORKS * 99 // 100 - 1], threads=sum(counts))
print("done")
