"""Pools a worker of which is killed amid its task: the application sees the same, and the others deliver."""

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


with context.Pool(2) as pool:  # its workers end by SIGTERM
    pool.apply_async(die)
    print(sum(pool.map(work, range(20))))
try:
    with ProcessPoolExecutor(2, context) as executor:
        executor.submit(die).result()
except BrokenProcessPool as error:
    print(type(error).__name__)
with ProcessPoolExecutor(2, context) as executor:
    print(sum(executor.map(work, range(20))))
