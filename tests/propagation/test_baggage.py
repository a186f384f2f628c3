"""Baggage goes where OpenTelemetry's API has it go: out of messages into its context, and into those that leave."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, propagate
from opentelemetry.context import Context

import obskit
from obskit.instrumentation.tracer import propagator
from obskit.propagation import baggage as ours
from obskit.tracing.current import attach, detach, get_context
from tests.export.receiver import run


@pytest.fixture(autouse=True)
def usual():
    yield
    ours.use(True)
    propagator.use(("b3multi",))


@pytest.mark.parametrize("formats", [("b3multi",), ("b3",), ("w3c",), ("w3c", "b3multi")])
@pytest.mark.parametrize("spelling", ["baggage", "Baggage"])
def test_what_is_written_is_read_with_every_format(formats, spelling):
    propagator.use(formats)
    carrier: dict[str, str] = {}
    given = baggage.set_baggage("city", "São Paulo", baggage.set_baggage("tenant", "acme"))
    propagator.inject(carrier, given)
    assert carrier.pop("baggage") == "tenant=acme,city=S%C3%A3o+Paulo"
    read = propagator.extract({spelling: "tenant=acme,city=S%C3%A3o+Paulo,broken,=x"}, Context())
    assert dict(baggage.get_all(read)) == {"tenant": "acme", "city": "São Paulo"}


def test_baggage_of_a_message_is_added_to_that_of_the_context_and_none_changes_nothing():
    context = baggage.set_baggage("mine", "1", Context())
    assert dict(baggage.get_all(propagator.extract({"baggage": "a=b"}, context))) == {"mine": "1", "a": "b"}
    assert dict(baggage.get_all(propagator.extract({}, context))) == {"mine": "1"}


@pytest.mark.parametrize("text", ["a=" + "x" * 9000, ",".join(f"k{n}=v" for n in range(500)), "\udcff", "é=1", ""])
def test_baggage_out_of_bounds_stops_nothing_and_keeps_within_the_limits_of_w3c(text):
    context = propagator.extract({"baggage": text}, Context())
    assert len(baggage.get_all(context)) <= 180
    carrier: dict[str, str] = {}
    propagator.inject(carrier, context)
    assert len(carrier.get("baggage", "")) <= 8192


@pytest.mark.parametrize("text", ["broken\x1b[31m", "é=1", "日本", "a\r\nb=1", "a" * 9000, "\udcff=1", "a=é", " , ,"])
def test_what_a_client_sends_as_baggage_is_not_logged(text, caplog):
    context = propagator.extract({"baggage": f"{text},tenant=acme"}, Context())
    assert (dict(baggage.get_all(context)) == {"tenant": "acme"}) is (len(text) < 9000)
    assert caplog.records == []


def test_switched_off_it_is_neither_read_nor_written():
    ours.use(False)
    assert baggage.get_baggage("a", propagator.extract({"baggage": "a=b"}, Context())) is None
    carrier: dict[str, str] = {}
    propagator.inject(carrier, baggage.set_baggage("a", "b", Context()))
    assert carrier == {}


def test_obskits_own_calls_carry_it_too_and_a_message_without_it_has_none():
    token = attach(baggage.set_baggage("outer", "1"))
    try:
        with obskit.continue_trace({"baggage": "tenant=acme"}):
            assert dict(baggage.get_all()) == {"tenant": "acme"}
            assert obskit.inject({}) == {"baggage": "tenant=acme"}
        assert dict(baggage.get_all(get_context())) == {"outer": "1"}
    finally:
        detach(token)


SERVED = """
import http.client, obskit, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry import baggage, context
seen = []
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        seen.append(self.headers.get_all("baggage"))
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
obskit.init(exporter="none", logs="off")
from obskit.integrations.wsgi import ObskitMiddleware
def app(environ, start_response):
    print(dict(baggage.get_all()))
    token = context.attach(baggage.set_baggage("added", "1"))
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", "/")
    connection.getresponse().read()
    context.detach(token)
    start_response("200 OK", [])
    return [b""]
for given in ({"HTTP_BAGGAGE": "tenant=acme"}, {}):
    body = ObskitMiddleware(app)({"REQUEST_METHOD": "GET", "PATH_INFO": "/", **given}, lambda *_: None)
    list(body)
print(seen)
"""


@pytest.mark.parametrize(
    ("propagators", "printed"),
    [
        ("", ["{'tenant': 'acme'}", "{}", "[['tenant=acme,added=1'], ['added=1']]"]),
        ("tracecontext,baggage", ["{'tenant': 'acme'}", "{}", "[['tenant=acme,added=1'], ['added=1']]"]),
        ("tracecontext", ["{}", "{}", "[None, None]"]),
    ],
)
def test_servers_read_it_and_their_calls_carry_it_unless_the_variable_leaves_it_out(propagators, printed):
    done = run(SERVED, OTEL_PROPAGATORS=propagators)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == printed


def test_the_global_propagator_finds_what_it_wrote():
    done = run(
        "import obskit; obskit.init(exporter='none', logs='off')\n"
        "from opentelemetry import baggage, propagate\n"
        "carrier = {}\n"
        "with obskit.span('a'): propagate.inject(carrier, baggage.set_baggage('a', 'b'))\n"
        "print(sorted(carrier)[-1], baggage.get_baggage('a', propagate.extract(carrier)))"
    )
    assert done.stdout == "baggage b\n"
    assert propagate is not None


@pytest.mark.parametrize(("flags", "sent"), [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03")])
def test_the_flag_of_a_random_trace_id_goes_on_and_unknown_ones_do_not(flags, sent):
    propagator.use(("w3c",))
    given = f"00-{'a' * 32}-{'b' * 16}-{flags}"
    context = propagator.extract({"traceparent": given}, Context())
    token = attach(context)
    try:
        with obskit.span("work") as span, obskit.span("child"):
            carrier: dict[str, str] = {}
            propagator.inject(carrier)
            assert span.get_span_context().trace_flags == int(sent, 16)
    finally:
        detach(token)
    assert carrier["traceparent"].endswith(f"-{sent}")
