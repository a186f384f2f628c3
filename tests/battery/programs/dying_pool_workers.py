"""Pools whose workers end before they begin, or are killed amid a task: the same as ever, and the others deliver."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from side import span

context = multiprocessing.get_context("fork")


def work(number):
    with span("work"):
        return number


def die():
    with span("dies"):
        os.kill(os.getpid(), signal.SIGKILL)


for _ in range(50):  # the workers of a pool end by SIGTERM, here before they have begun
    with context.Pool(2):
        pass
with context.Pool(2) as pool:
    pool.apply_async(die)
    print(sum(pool.map(work, range(20))))
try:
    with ProcessPoolExecutor(2, context) as executor:
        executor.submit(die).result()
except BrokenProcessPool as error:
    print(type(error).__name__)
with ProcessPoolExecutor(2, context) as executor:
    print(sum(executor.map(work, range(20))))
