"""Forks while the thread that delivers imports what it needs, and the disk is slow: each child delivers, too."""

import _thread
import os
import sys
import time

from side import flush, span

FORKS = 10
main = _thread.get_ident()


class SlowDisk:
    """Takes its time for each module that another thread than the main one looks for."""

    def find_spec(self, *_):
        if _thread.get_ident() != main:
            time.sleep(1.5)


def child(number):
    with span("child"):
        pass
    flush(30)
    os._exit(number)


sys.meta_path.insert(0, SlowDisk())
with span("parent"):
    pass
for number in range(FORKS):
    time.sleep(0.02)
    if os.fork() == 0:
        child(number)
print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(FORKS)))
