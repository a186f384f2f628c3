"""Programs and libraries written for OpenTelemetry's API work with obskit, in whatever order things are imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.export.receiver import receiver, run

INIT = "import sys, obskit; obskit.init(service='Orders', exporter=sys.argv[1], integrations=[], propagation=['b3'])\n"


def test_a_tracer_obtained_before_init_works_after_it():
    code = "from opentelemetry import trace\ntracer = trace.get_tracer('mine')\n" + INIT
    code += "with tracer.start_as_current_span('a'), obskit.span('b'): pass"
    with receiver() as server:
        done = run(code, server.url)
        assert (done.returncode, done.stderr) == (0, "")
        child, parent = server.spans
    assert (child["name"], parent["name"], child["parentId"]) == ("b", "a", parent["id"])


@pytest.mark.parametrize("order", ["before", "after"])
def test_opentelemetrys_propagation_is_obskits_whenever_it_is_imported(order):
    imports = "from opentelemetry import propagate, trace\n"
    code = (imports + INIT) if order == "before" else (INIT + imports)
    code += """
context = propagate.extract({'b3': '00000000000000010000000000000002-000000000000000a-d'})
headers = {}
propagate.inject(headers, context)
print(headers)
with obskit.span('a') as span:
    headers = {}
    propagate.inject(headers)
    assert span.trace_id in headers['b3'] and list(headers) == ['b3'], headers
with trace.get_tracer('t').start_as_current_span('b', context): pass
"""
    with receiver() as server:
        done = run(code, server.url)
        assert done.stdout == "{'b3': '00000000000000010000000000000002-000000000000000a-d'}\n", done.stderr
        _, continued = server.spans
    assert (continued["traceId"], continued["parentId"]) == ("00000000000000010000000000000002", "000000000000000a")


def test_a_library_instrumented_for_opentelemetry_traces_through_obskit():
    code = (
        INIT
        + """
import sqlite3
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
SQLite3Instrumentor().instrument()
with obskit.span('parent'):
    connection = sqlite3.connect(':memory:')
    print(connection.cursor().execute('select 1').fetchall())
    connection.close()
"""
    )
    code = "import warnings; warnings.simplefilter('default')\n" + code
    with receiver() as server:
        done = run(code, server.url)
        assert done.stdout == "[(1,)]\n", done.stderr
        child, parent = server.spans
    assert (child["kind"], child["name"], child["parentId"]) == ("CLIENT", "select", parent["id"])
    assert "sqlite" in json.dumps(child["tags"])


def test_a_provider_that_was_set_before_is_left_alone_with_one_clear_warning():
    code = """
import sys
from opentelemetry import trace, propagate
from opentelemetry.sdk.trace import TracerProvider
other = TracerProvider()
trace.set_tracer_provider(other)
textmap = propagate.get_global_textmap()
import obskit
obskit.init(exporter=sys.argv[1], integrations=['http_client'])
obskit.init(exporter=sys.argv[1], integrations=['http_client'], sample_rate=1)
assert trace.get_tracer_provider() is other
assert propagate.get_global_textmap() is textmap
with trace.get_tracer('t').start_as_current_span('theirs'):
    with obskit.span('ours'): pass
"""
    with receiver() as server:
        done = run(code.replace("['http_client']", "[]"), server.url)
        (warning,) = done.stderr.splitlines()
        (span,) = server.spans
    assert "another OpenTelemetry TracerProvider (TracerProvider) was set before obskit.init()" in warning
    assert "call obskit.init() first" in warning
    assert span["name"] == "ours"
    assert span["parentId"]


def test_the_same_spans_look_like_those_of_opentelemetrys_own_zipkin_exporter():
    """Each intended difference is checked here: names in lower case, durations of at least 1, no debug flag, the
    instrumenting library and the process (but for its name) left out, lists as JSON with their items' own types."""
    with receiver() as ours, receiver() as theirs:
        done = run(PROGRAM, ours.url, theirs.url)
        assert done.returncode == 0, done.stderr
        pairs = list(zip(by_name(ours), by_name(theirs), strict=True))
    assert len(pairs) == 6
    for mine, other in pairs:
        assert mine.pop("localEndpoint")["serviceName"] == "orders"
        assert other.pop("localEndpoint")["serviceName"] == "Orders"  # Zipkin's names are lower case
        assert other.pop("name").lower() == mine.pop("name")
        other["tags"] = without(other.get("tags") or {}, *_LEFT_OUT)
        assert notes(mine) == notes(other)
        assert mine.pop("duration") == max(1, other.pop("duration"))  # Zipkin rounds a duration of 0 up
        assert other.pop("debug") is True  # to Zipkin it means: keep, whatever the rate
        mine.setdefault("tags", {})
        if "error" in mine["tags"]:
            mine["tags"]["error"] = other["tags"]["error"]
        for key, value in mine["tags"].items():
            assert text(value) == text(other["tags"][key]), key
        assert mine["tags"].keys() == other["tags"].keys()
        assert without(mine, "tags") == {k: v for k, v in without(other, "tags").items() if v is not None}


def notes(span: dict) -> list:
    return [(note["timestamp"], text(note["value"])) for note in span.pop("annotations", None) or []]


def text(value: str):
    """Return JSON as its value: theirs writes lists with white space, and their items as text."""
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return list(map(str, found)) if isinstance(found, list) else found


def without(values: dict, *keys: str) -> dict:
    return {key: value for key, value in values.items() if not key.startswith(keys)}


_LEFT_OUT = ("otel.library.", "otel.scope.", "telemetry.", "service.", "host.", "process.")


def by_name(server) -> list[dict]:
    return sorted(server.spans, key=lambda span: span["name"].lower())


PROGRAM = """
import sys
import obskit
obskit.init(service='Orders', exporter=sys.argv[1], integrations=[])
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.exporter.zipkin.json import ZipkinExporter
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(ZipkinExporter(endpoint=sys.argv[2])))
tracer = trace.get_tracer('library', '2.0')
start = 1_700_000_000_000_000_000
def make(name, kind=SpanKind.INTERNAL, attributes=None, status=None, event=None, length=5_000_000):
    span = tracer.start_span(name, kind=kind, attributes=attributes, start_time=start)
    if event: span.add_event('Event', event, start + 1_000_000)
    if status: span.set_status(status)
    span.end(start + length)
make('A plain')
values = {'text': 'x', 'true': True, 'int': 7, 'float': 1.5, 'list': ['a', 'b'], 'ints': [1, 2]}
make('B attributes', SpanKind.CLIENT, values)
make('C event', SpanKind.SERVER, event={'key': 'value'})
make('D error', SpanKind.PRODUCER, status=Status(StatusCode.ERROR, 'went wrong'))
make('E ok', SpanKind.CONSUMER, status=Status(StatusCode.OK))
make('F short', length=10)
"""


OWN_PROPAGATOR = """
from opentelemetry import propagate
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
own = CompositePropagator([TraceContextTextMapPropagator()])
"""


@pytest.mark.parametrize("order", ["before", "after", "between"])
def test_a_propagator_of_the_programs_own_stays_and_is_said_where_obskit_would_have_set_one(order):
    init = "import obskit; obskit.init(exporter='none', integrations=[], logs='json')\n"
    own = OWN_PROPAGATOR + "propagate.set_global_textmap(own)\n"
    again = "obskit.init(exporter='none', integrations=[], logs='json', sample_rate=0.5)\n"
    code = {"before": own + init + again, "after": init + own, "between": init + own + again}[order]
    done = run(code + "print('kept', propagate.get_global_textmap() is own)")
    assert done.stdout.splitlines()[-1] == "kept True", done.stderr
    assert done.stdout.count("propagator (CompositePropagator) was set before obskit.init(), and stays") == (
        order == "before"
    )


def test_a_provider_that_is_set_later_is_told_why_it_gets_nothing_and_what_to_do():
    code = """
import obskit
obskit.init(exporter='none', integrations=[], logs='json')
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
trace.set_tracer_provider(trace.get_tracer_provider())
obskit.shutdown(unpatch=True)
import opentelemetry.trace
print(trace.set_tracer_provider.__code__.co_filename.endswith("trace/__init__.py"))
"""
    done = run(code)
    lines = done.stdout.splitlines()
    assert lines[-1] == "True", done.stderr
    assert sum("obskit is OpenTelemetry's TracerProvider already" in line for line in lines) == 1
    assert "add_span_processor" in done.stdout


@pytest.mark.parametrize("first", ["", "import obskit; obskit.init(service='s', exporter='console', logs='off')\n"])
def test_opentelemetrys_variable_names_obskit_as_the_provider(first):
    code = first + "from opentelemetry import trace\ntrace.get_tracer('t').start_span('made').end()\n"
    code += "from opentelemetry import propagate\nprint(type(propagate.get_global_textmap()).__module__)"
    variables = {"OTEL_PYTHON_TRACER_PROVIDER": "obskit", "OBSKIT_EXPORTER": "console", "OBSKIT_LOGS": "off"}
    done = run(code, **variables)
    assert '"name":"made"' in done.stdout, done.stderr
    assert "obskit.propagation.propagator" in done.stdout


@pytest.mark.parametrize("variables", [{"OTEL_PYTHON_DISTRO": "obskit"}, {"OTEL_PYTHON_TRACER_PROVIDER": "obskit"}])
def test_opentelemetry_instrument_starts_obskit_where_it_is_asked_to(variables):
    assert "obskit" in provider_under_instrument([], **variables)


def test_opentelemetry_instrument_leaves_obskit_alone_where_it_is_not():
    assert "obskit" not in provider_under_instrument([])


@pytest.mark.parametrize("outer", ["run", "instrument"])
def test_obskit_run_and_opentelemetry_instrument_work_around_each_other(outer):
    assert "obskit" in provider_under_instrument([sys.executable, "-m", "obskit", "run", "--"], outer == "instrument")


def provider_under_instrument(obskit_run: list[str], instrument_first: bool = False, **variables: str) -> str:
    """Return the module of the provider in a program below ``opentelemetry-instrument``, and below ``obskit run``."""
    code = "from opentelemetry import trace; print('provider', type(trace.get_tracer_provider()).__module__)"
    instrument = [sys.executable, "-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()"]
    wrappers = [*instrument, *obskit_run] if instrument_first else [*obskit_run, *instrument]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OBSKIT_", "OTEL_", "PYTHON"))}
    environ = {**kept, "OBSKIT_EXPORTER": "none", "OBSKIT_LOGS": "off", **variables}
    command = [*wrappers, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("provider")]
    return line
