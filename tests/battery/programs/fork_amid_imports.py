"""Forks while the thread that delivers imports what it needs, and the disk is slow: each child delivers, too."""

import _thread
import os
import sys
import threading
import time

from side import flush, span

FORKS = 10
main = _thread.get_ident()


class SlowDisk:
    """Takes its time for each module that another thread than the main one looks for."""

    def find_spec(self, *_):
        if _thread.get_ident() != main:
            time.sleep(0.1)


def child(number):
    with span("child"):
        pass
    flush(30)
    os._exit(number)


over = threading.Event()
for _ in range(4):  # else a child's worker gets the number of its parent's, and with it the locks
    threading.Thread(target=over.wait).start()
sys.meta_path.insert(0, SlowDisk())
with span("parent"):
    pass
for number in range(FORKS):
    time.sleep(0.02)
    if os.fork() == 0:
        child(number)
over.set()
print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(FORKS)))
