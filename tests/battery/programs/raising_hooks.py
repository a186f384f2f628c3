"""Values, exceptions, hooks and handlers of the application that raise."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from side import flush, raising_hook, span


class Upstream(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


upstream = HTTPServer(("127.0.0.1", 0), Upstream)
threading.Thread(target=upstream.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{upstream.server_port}/"
raising_hook()

import requests  # noqa: E402 - after the hook is set, as an instrumented program would


class Angry:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class AngryError(Exception):
    __str__ = Angry.__str__


def refuse(_response, **_):
    raise LookupError("the application's own hook")


with span("tag", value=Angry(), values=[Angry()]):
    print("in the block")
try:
    with span("error"):
        raise AngryError
except AngryError:
    print("its own exception")
print(requests.get(url).text)
try:
    requests.get(url, hooks={"response": refuse})
except LookupError as error:
    print(error)
flush(5)
