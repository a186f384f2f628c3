"""An exporter that calls through an instrumented client: itself, from a new thread, and from an old pool."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import requests
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from side import flush, span

import obskit

URL = os.environ["BATTERY_URL"]
pool = ThreadPoolExecutor(1)
pool.submit(int).result()  # its thread is older than any delivery


class Exporter(SpanExporter):
    def export(self, spans):
        requests.get(URL + "?direct")
        thread = threading.Thread(target=requests.get, args=[URL + "?thread"])
        thread.start()
        thread.join()
        pool.submit(requests.get, URL + "?pool").result()
        return SpanExportResult.SUCCESS


obskit.init(service="battery", exporter=[URL, Exporter()], flush_interval=0.0)
for _ in range(5):
    with span("work"):
        pass
    flush(5)
