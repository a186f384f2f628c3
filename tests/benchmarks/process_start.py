"""A whole Python process: one that does nothing, and one that sets tracing up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from time import perf_counter

from clocks import Block, Figures
from sides import BARE, OBSKIT, PEER

_PROGRAMS = {
    BARE: "pass",
    OBSKIT: "import obskit; obskit.init()",
    PEER: """
from opentelemetry import trace
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ZipkinExporter()))
trace.set_tracer_provider(provider)
""",
}


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what runs each side's program once, from a folder in which there is nothing to import."""
    return {side: partial(_run, program) for side, program in _PROGRAMS.items()}


def _run(program: str) -> Figures:
    begun = perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tempfile.gettempdir())
    _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return {"wall": wall * 1e6, "user+sys": (usage.ru_utime + usage.ru_stime) * 1e6}
