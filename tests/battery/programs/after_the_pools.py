"""Spans in a thread pool, and one after concurrent.futures has closed its pools for good."""

import atexit
from concurrent.futures import ThreadPoolExecutor

from side import span


def late():
    with span("late"):
        print("late")


def work(number):
    with span("pooled"):
        return number


atexit.register(late)
with ThreadPoolExecutor(2) as pool:
    print(sum(pool.map(work, range(20))))
