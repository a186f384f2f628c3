"""Service e, the till: bills come over TCP, wait in a queue, and are entered one after the other."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from queue import Queue
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import obskit

obskit.init(service="e")

log = logging.getLogger("till")
logging.basicConfig(level=logging.INFO)
bills: Queue[dict[str, Any]] = Queue()
served: Counter[str] = Counter()


class Till(StreamRequestHandler):
    """Puts bills into the queue, a line of JSON each, and answers how many wait; an empty line only asks."""

    def handle(self) -> None:
        """Take what comes on a connection."""
        for line in self.rfile:
            if line.strip():
                bills.put(json.loads(line))
            self.wfile.write(b"%d\n" % bills.qsize())


def enter_bills() -> None:
    """Enter bills as they come, each in the trace that it brought along."""
    while True:
        bill = bills.get()
        with obskit.continue_trace(bill["trace"]), obskit.span("enter bill", kind="consumer", remote="bills"):
            served[bill["dish"]] += 1
            log.info("served %s %d times", bill["dish"], served[bill["dish"]])


app = Till
Thread(target=enter_bills, daemon=True).start()

if __name__ == "__main__":
    with ThreadingTCPServer(("127.0.0.1", int(os.environ.get("PORT", "8085"))), Till) as server:
        server.serve_forever()
