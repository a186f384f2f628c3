"""In each of many processes a thread logs the process's first line while the main thread forks."""

import logging
import os
import threading

from side import span

log = logging.getLogger("battery")
FORKS = 20


def child():
    with span("child"):
        pass
    thread = threading.Thread(target=log.warning, args=["first"])
    thread.start()
    if os.fork() == 0:
        log.warning("grandchild")
        os._exit(0)
    log.warning("second")
    thread.join()
    os.wait()
    os._exit(0)


for _ in range(FORKS):
    if os.fork() == 0:
        child()
    os.wait()
