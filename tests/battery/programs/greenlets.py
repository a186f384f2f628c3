"""A thousand greenlets; ``patch_all`` comes ``before`` or ``after`` the import of the library."""

import sys

if sys.argv[1] == "before":
    from gevent import monkey

    monkey.patch_all()
from side import note, span, waited_for_a_processor

if sys.argv[1] == "after":
    from gevent import monkey

    monkey.patch_all()
import time

import gevent

gevent.sleep(0)
beats = []
over = False


def heart():
    while not over:
        begin, before = time.monotonic(), waited_for_a_processor()
        gevent.sleep(0.005)
        beats.append(time.monotonic() - begin - (waited_for_a_processor() - before))


def work(number):
    for _ in range(5):
        with span("greenlet"):
            gevent.sleep(0.01)
    return number


beating = gevent.spawn(heart)
jobs = [gevent.spawn(work, number) for number in range(1000)]
gevent.joinall(jobs)
end = time.monotonic() + 1
while time.monotonic() < end:
    gevent.sleep(0.01)
print(sum(job.value for job in jobs))
over = True
beating.join()
note(stall=max(beats))
