"""Children of multiprocessing that get SIGTERM soon after their start, wherever they are then."""

import multiprocessing
import random
import time

from side import note, span

CHILDREN = 40
context = multiprocessing.get_context("fork")
reader, _writer = context.Pipe()
gate = context.Semaphore(0)
ended = context.RawArray("b", CHILDREN)


def work(number):
    with span("child"):
        pass
    ended[number] = 1
    (reader.recv, gate.acquire, _count)[number % 3]()


def _count():
    while True:
        pass


random.seed(1)
codes, longest = set(), 0.0
for number in range(CHILDREN):
    process = context.Process(target=work, args=[number])
    process.start()
    time.sleep(random.random() * 0.02 if number % 2 else 0)
    begin = time.monotonic()
    process.terminate()
    process.join()
    longest = max(longest, time.monotonic() - begin)
    codes.add(process.exitcode)
note(ended=sum(ended), longest=longest)
print(codes)
