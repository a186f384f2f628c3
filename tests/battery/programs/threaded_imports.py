"""Sixteen threads import a library at once; then it is reloaded, and the tracing configured again. Calls PORT."""

import importlib
import sys
import threading

from side import flush

import obskit

barrier = threading.Barrier(16)
found = []


def load():
    barrier.wait()
    import requests

    found.append(requests.adapters.HTTPAdapter.send)


def call():
    sys.modules["requests"].get(f"http://127.0.0.1:{sys.argv[1]}/")


threads = [threading.Thread(target=load) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 16
call()
importlib.reload(sys.modules["requests.adapters"])
importlib.reload(sys.modules["requests.sessions"])
call()
obskit.init(service="another")
call()
flush(5)
