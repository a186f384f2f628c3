"""Four libraries that trace the same calls, under load, forked, and taken off in every order."""

import itertools
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SINK = os.environ["SINK"]
os.environ["DD_TRACE_AGENT_URL"] = SINK
for name in ("INSTRUMENTATION_TELEMETRY", "REMOTE_CONFIGURATION", "CRASHTRACKING"):
    os.environ[f"DD_{name}_ENABLED"] = "false"

import ddtrace  # noqa: E402 - it reads the environment when imported
import requests  # noqa: E402
import sentry_sdk  # noqa: E402
from ddtrace.contrib.internal.requests.patch import patch, unpatch  # noqa: E402
from opentelemetry.exporter.zipkin.json import ZipkinExporter  # noqa: E402
from opentelemetry.instrumentation.requests import RequestsInstrumentor  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402
from side import flush, note, span  # noqa: E402

import obskit  # noqa: E402

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ZipkinExporter(endpoint=SINK + "/api/v2/spans")))
sentry_sdk.init(dsn=SINK.replace("://", "://key@") + "/1", traces_sample_rate=1.0)
instrumentor = RequestsInstrumentor()


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
threading.Thread(target=upstream.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{upstream.server_port}/"
on = {
    "obskit": lambda: obskit.init(service="battery"),
    "opentelemetry": lambda: instrumentor.instrument(tracer_provider=provider),
    "ddtrace": patch,
}
off = {
    "obskit": lambda: obskit.shutdown(unpatch=True),
    "opentelemetry": instrumentor.uninstrument,
    "ddtrace": unpatch,
}
calls = []
forks = 0


def load():
    session, end = requests.Session(), time.monotonic() + 0.5
    while time.monotonic() < end:
        with span("work"), ddtrace.tracer.trace("work"), sentry_sdk.start_transaction(name="work"):
            assert session.get(url).text == "ok"
        calls.append(1)


def fork():
    child = os.fork()
    if child == 0:
        with span("child"):
            pass
        os._exit(0 if flush(10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


for order in itertools.permutations(off):
    for start in on.values():
        start()
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        fork()
        forks += 1
    for thread in threads:
        thread.join()
    for name in order:
        off[name]()
        assert requests.get(url).text == "ok"
note(calls=len(calls), forks=forks)
print("done")
