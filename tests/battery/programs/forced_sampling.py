"""Requests that all want to be recorded, by ``d`` or by a decision."""

import time

from side import flush, note
from wsgi_calls import call, request, traced

begin = time.monotonic()
for number in range(1, 20_001):
    forced = "d" if number % 2 else f"{number:032x}-{number:016x}-1"
    call(traced, request("/", {"b3": forced}))
note(seconds=time.monotonic() - begin)
flush(10)
