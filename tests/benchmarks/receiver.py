"""A process that takes what the exporters post.

POST counts the spans of the body for its path's last part (a side); GET /count/SIDE says how many came. Prints its
port on the first line of standard output; ends when standard input closes.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_received: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open, and Nagle's algorithm off: neither side pays for the receiver's manners."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _received[self.path.rpartition("/")[2]] += body.count(b'"traceId"')
        self._answer(202, b"")

    def do_GET(self) -> None:
        self._answer(200, str(_received[self.path.rpartition("/")[2]]).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
