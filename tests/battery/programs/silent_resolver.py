"""Spans for a receiver whose name nobody resolves: this program holds the socket that should."""

import socket
import time

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))

from side import ending, flush, note, span  # noqa: E402 - the library starts when the resolver is there

for number in range(5):
    with span("work"):
        print(number)
begin = time.monotonic()
note(answer=flush(0.5), took=time.monotonic() - begin)
ending()
