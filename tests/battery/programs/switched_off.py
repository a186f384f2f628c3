"""Look for traces of a library that was switched off."""

import http.client
import logging
import os
import sys
import threading


def patched():
    return http.client.HTTPConnection.request, threading.Thread.start, logging.Handler.format, sys.excepthook


original = patched()

import concurrent.futures  # noqa: E402

import urllib3  # noqa: E402
from side import flush, note, span  # noqa: E402


def sockets():
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [path for path in paths if os.path.exists(path) and os.readlink(path).startswith("socket")]


for _ in range(100):
    with span("work"):
        pass
flush(1)
logging.getLogger("a").warning("as ever")
note(
    same=[one is other for one, other in zip(original, patched(), strict=True)],
    sent=urllib3.connectionpool.HTTPConnectionPool._make_request.__qualname__,
    submit=concurrent.futures.ThreadPoolExecutor.submit.__qualname__,
    handlers=len(logging.getLogger().handlers),
    threads=len(os.listdir("/proc/self/task")),
    sockets=sockets(),
)
