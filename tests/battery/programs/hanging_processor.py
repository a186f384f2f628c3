"""One span, with something attached that flushes without end; then SIGTERM."""

import os
import signal
import threading

from opentelemetry import trace
from side import span


class Hanging:
    def on_start(self, *_, **__): ...

    def on_end(self, *_): ...

    def shutdown(self): ...

    def force_flush(self, *_):
        threading.Event().wait()


trace.get_tracer_provider().add_span_processor(Hanging())
with span("before the end"):
    pass
os.kill(os.getpid(), signal.SIGTERM)
