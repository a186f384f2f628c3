"""Shut the library down, its patches taken back, and start it again, amid eight threads of calls."""

import concurrent.futures
import http.client
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import urllib3


def patched():
    return [
        urllib3.connectionpool.HTTPConnectionPool._make_request,
        urllib3.connectionpool.HTTPConnectionPool.urlopen,
        http.client.HTTPConnection.putrequest,
        http.client.HTTPConnection.getresponse,
        http.client.HTTPConnection.request,
        threading.Thread.start,
        concurrent.futures.ThreadPoolExecutor.submit,
        logging.Handler.format,
        sys.excepthook,
        threading.excepthook,
        logging.getLogRecordFactory(),
    ]


originals, handlers, finders = patched(), list(logging.getLogger().handlers), list(sys.meta_path)

from side import note, span  # noqa: E402

import obskit  # noqa: E402 - the originals are known now


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
upstream.daemon_threads = True
threading.Thread(target=upstream.serve_forever, daemon=True).start()
over = threading.Event()
failures, calls = [], []


def call(session):
    try:
        with span("work"):
            assert session.get(f"http://127.0.0.1:{upstream.server_port}/").text == "ok"
        calls.append(1)
    except BaseException as error:
        failures.append(repr(error))


def load():
    session = requests.Session()
    while not over.is_set():
        call(session)


def workers():
    """Name our threads that run. A _DummyThread is not forgotten when its thread has ended."""
    running = sys._current_frames()
    return [one.name for one in threading.enumerate() if "obskit" in one.name and one.ident in running]


threads = [threading.Thread(target=load) for _ in range(8)]
for thread in threads:
    thread.start()
for _ in range(5):
    time.sleep(0.1)
    obskit.shutdown(unpatch=True)
    time.sleep(0.05)
    obskit.init(service="battery")
time.sleep(0.1)
obskit.shutdown(unpatch=True)
over.set()
for thread in threads:
    thread.join()
deadline = time.monotonic() + 5
while workers() and time.monotonic() < deadline:
    time.sleep(0.01)
note(
    failures=failures[:3],
    calls=len(calls),
    changed=[str(one) for one, other in zip(originals, patched(), strict=True) if one is not other],
    handlers=logging.getLogger().handlers == handlers,
    finders=[type(finder).__name__ for finder in sys.meta_path if finder not in finders],
    workers=workers(),
)
