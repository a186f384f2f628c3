"""Spans in forked children of multiprocessing that end at once."""

import multiprocessing

from side import span


def work():
    for _ in range(5):
        with span("in the child"):
            pass


context = multiprocessing.get_context("fork")
for _ in range(8):
    process = context.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
