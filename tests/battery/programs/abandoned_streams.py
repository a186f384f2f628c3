"""Bodies of responses that are not read to their end: disconnected, never closed, closed twice, kept for ever."""

import gc
import itertools
import socket
import threading
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

import side  # noqa: F401 - starts the library
from side import note

import obskit
from obskit.integrations.wsgi import ObskitMiddleware


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"x" * 65536 for _ in itertools.count())


application = ObskitMiddleware(endless)


def disconnect():
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_connection(server.server_address) as client:
        client.sendall(b"GET /disconnected HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(10)


def call(path):
    server = {"SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    return iter(application({"REQUEST_METHOD": "GET", "PATH_INFO": path, **server}, lambda *_: None))


disconnect()
body = call("/never-closed")
next(body)
del body
gc.collect()
body = call("/closed-twice")
next(body)
body.close()
body.close()
kept = call("/kept")
next(kept)
deadline = time.monotonic() + 5
while obskit.stats()["exporters"][0]["produced"] < 2 and time.monotonic() < deadline:
    time.sleep(0.01)
note(done=True)
