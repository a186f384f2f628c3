"""Serve a request for each set of headers in FILE; then measure the last seven, COUNT calls each."""

import json
import sys
import time
from pathlib import Path

from side import flush, note
from wsgi_calls import bare, call, request, traced

everything = json.loads(Path(sys.argv[1]).read_text())
for number, headers in enumerate(everything):
    call(traced, request(f"/{number}", headers))
flush(10)


def microseconds(application, headers):
    count = int(sys.argv[2])
    begin = time.thread_time()
    for _ in range(count):
        call(application, request("/cost", headers))
    return (time.thread_time() - begin) / count * 1e6


def cost(headers):
    return min(microseconds(traced, headers) - microseconds(bare, headers) for _ in range(3))


note(cost=max(cost(headers) for headers in everything[-7:]))
