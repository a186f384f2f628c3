"""Headers of every shape: what inject writes replaces what was there, and extract finds it again."""

from __future__ import annotations

import email.message
import wsgiref.headers

import pytest
import werkzeug.datastructures
from opentelemetry import propagate, trace
from opentelemetry.context import Context

import obskit
from obskit.propagation import carriers, mesh
from obskit.propagation.headers import MESH, WSGI
from obskit.propagation.propagator import FORMATS, Propagator
from obskit.testing import recording
from obskit.tracing.current import attach, current_span, detach, get_context
from obskit.tracing.propagated import PropagatedSpan

OLD, SPAN = "a" * 32, "b" * 16
SETTINGS = [("b3multi",), ("b3",), ("w3c",), ("b3", "b3multi"), ("w3c", "b3multi"), ("b3", "w3c"), tuple(FORMATS)]


@pytest.fixture(autouse=True)
def as_opentelemetrys_own():
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


def old_forms():
    single, sampled = f"{OLD}-{SPAN}-1", {"parentspanid": SPAN, "flags": "1", "sampled": "0"}
    multi = {"traceid": OLD, "spanid": SPAN, **sampled}
    yield "single", {"b3": single}
    yield "single in capitals", {"B3": single}
    yield "as we write it", {f"X-B3-{name.title()}": value for name, value in multi.items()}
    yield "in lower case", {f"x-b3-{name}": value for name, value in multi.items()}
    yield "in capitals and lower case", {"X-B3-TRACEID": OLD, "x-b3-traceid": OLD, "b3": single, "B3": single}
    yield "w3c", {"TraceParent": f"00-{OLD}-{SPAN}-01", "TRACESTATE": "old=1"}


def as_bytes(headers):
    return {name.encode(): value.encode() for name, value in headers.items()}


SHAPES = {
    "dict": dict,
    "bytes": as_bytes,
    "pairs": lambda headers: list(headers.items()),
    "pairs with bytes": lambda headers: [(name, value.encode()) for name, value in headers.items()],
    "pairs of bytes": lambda headers: list(as_bytes(headers).items()),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("old", [headers for _, headers in old_forms()], ids=[name for name, _ in old_forms()])
@pytest.mark.parametrize("formats", SETTINGS, ids="+".join)
def test_what_inject_leaves_behind_names_the_current_trace_only(formats, old, shape):
    carrier = SHAPES[shape]({"mine": "1", **old})
    with recording(propagation=formats) as spans:
        with obskit.span("forward") as forward:
            assert obskit.inject(carrier) is carrier
        with obskit.continue_trace(carrier), obskit.span("consume") as consume:
            assert consume.trace_id == forward.trace_id
        spans.take(), spans.take()
    pairs = carrier.items() if isinstance(carrier, dict) else carrier
    assert len({(type(name), type(value)) for name, value in pairs}) == 1
    known = {"w3c": "traceparent", "b3": "b3"}
    assert OLD not in str([pair for pair in pairs if known["w3c"] not in str(pair).lower() or "w3c" in formats])


def filled(carrier, headers):
    for name, value in headers.items():
        carrier[name] = value
    return carrier


OTHER_MAPPINGS = {
    "email": lambda headers: filled(email.message.Message(), headers),
    "wsgiref": lambda headers: wsgiref.headers.Headers(list(headers.items())),
    "werkzeug": werkzeug.datastructures.Headers,
}


@pytest.mark.parametrize("kind", OTHER_MAPPINGS)
@pytest.mark.parametrize("old", [headers for _, headers in old_forms()], ids=[name for name, _ in old_forms()])
def test_mappings_whose_iteration_yields_no_names_carry_one_trace(old, kind):
    """Those of http.server and http.client are email's, too."""
    carrier = OTHER_MAPPINGS[kind]({"mine": "1", **old})
    with recording(propagation=("b3multi", "w3c")) as spans:
        with obskit.span("forward") as forward:
            obskit.inject(carrier)
        with obskit.continue_trace(carrier), obskit.span("consume") as consume:
            assert consume.trace_id == forward.trace_id
        spans.take(), spans.take()
    assert OLD not in str(carrier.items())
    assert ("mine", "1") in {(name.lower(), value) for name, value in carrier.items()}


def test_headers_with_lists_of_values_are_continued():
    """As API gateways hand them over."""
    with recording() as spans:
        carrier = {"X-B3-TraceId": [OLD], "X-B3-SpanId": [SPAN[:16].encode()], "Accept": ["a", "b"]}
        with obskit.continue_trace(carrier), obskit.span("consume") as span:
            assert span.trace_id == OLD
        spans.take()


@pytest.mark.parametrize("odd", [None, 5, "text", ("a", "b"), [1], [("a", "b", "c")], [("a",)], {"b3": None}])
def test_what_carries_no_headers_begins_a_trace_and_costs_nothing(odd):
    with recording() as spans:
        with obskit.continue_trace(odd), obskit.span("consume") as span:
            assert span.parent_id is None
            assert obskit.inject(odd) is odd
        spans.take()


def test_headers_of_the_programs_own_stay():
    token = attach(Context({mesh.MESH_KEY: {"x-request-id": "in", "sw8": "s"}}))
    try:
        with recording() as spans:
            with obskit.span("forward"):
                headers = obskit.inject({"X-Request-ID": "mine"})
                pairs = obskit.inject([("x-request-id", b"mine")])
                carrier = {"X-Request-Id": "mine"}
                Propagator().inject(carrier)
            spans.take()
    finally:
        detach(token)
    assert {name.lower(): value for name, value in headers.items()}.items() >= {
        "x-request-id": "mine",
        "sw8": "s",
    }.items()
    assert [value for name, value in pairs if name == "x-request-id"] == [b"mine"]
    assert (carrier["X-Request-Id"], "x-request-id" in carrier) == ("mine", False)


def test_a_message_may_go_over_grpc():
    token = attach(Context({mesh.MESH_KEY: {"grpc-trace-bin": "AAA", "sw8": "s"}}))
    try:
        with recording() as spans:
            with obskit.span("call"):
                assert "grpc-trace-bin" not in obskit.inject({})
                propagate.inject(carrier := {})
                assert "grpc-trace-bin" not in carrier
            spans.take()
    finally:
        detach(token)


def test_outside_a_trace_a_message_is_passed_on_as_it_is():
    assert obskit.inject({"b3": "0"}) == {"b3": "0"}


class Attributes:
    """A carrier such as Celery's request: getattr, with the names as they were written, and no list of them."""

    def get(self, carrier, key):
        value = carrier.get(key)
        return None if value is None else [value]

    def keys(self, carrier):
        return []


class Failing(Attributes):
    def keys(self, carrier):
        raise NotImplementedError

    def get(self, carrier, key):
        raise ValueError(key)


@pytest.mark.parametrize("formats", SETTINGS, ids="+".join)
@pytest.mark.parametrize("sampled", [1.0, 0.0])
@pytest.mark.parametrize("getter", [None, Attributes()])
def test_opentelemetrys_extract_finds_what_inject_wrote(formats, sampled, getter):
    named = {} if getter is None else {"getter": getter}
    with recording(sampled, propagation=formats) as spans:
        propagate.set_global_textmap(Propagator(formats))
        with obskit.span("publish") as span:
            propagate.inject(carrier := {})
        found = trace.get_current_span(propagate.extract(carrier, Context(), **named))
        assert (found.trace_id, found.span_id, found.sampled) == (span.trace_id, span.span_id, sampled == 1)
        if sampled:
            spans.take()


@pytest.mark.parametrize("respell", [str.upper, str.lower, str.title, str.encode])
@pytest.mark.parametrize("value", [str, str.encode])
def test_a_plain_dict_is_read_without_regard_to_case(respell, value):
    carrier = {respell(name): value(text) for name, text in {"x-b3-traceid": OLD, "x-b3-spanid": SPAN}.items()}
    assert trace.get_current_span(Propagator().extract(carrier, Context())).trace_id == OLD


@pytest.mark.parametrize("carrier", [None, 5, [], {"b3": 5}, {5: "b3"}, {"b3": object()}, {"b3": [None]}])
@pytest.mark.parametrize("getter", [None, Failing()])
def test_a_carrier_that_cannot_be_read_changes_nothing(carrier, getter):
    named = {} if getter is None else {"getter": getter}
    context = Context({"k": "v"})
    assert Propagator().extract(carrier, context, **named) == context


def test_an_extracted_parent_comes_without_the_mesh_headers_of_the_request_before():
    before = Context({mesh.MESH_KEY: {"x-request-id": "alice"}, "k": "v"})
    found = Propagator().extract({"b3": f"{OLD}-{SPAN}"}, before)
    assert (mesh.of(found), found["k"]) == ({}, "v")


def test_a_continued_message_comes_without_the_mesh_headers_of_the_request_before():
    token = attach(Context({mesh.MESH_KEY: {"x-request-id": "alice"}, "k": "v"}))
    try:
        with obskit.continue_trace({"b3": f"{OLD}-{SPAN}"}):
            assert (mesh.of(get_context()), get_context()["k"], current_span().trace_id) == ({}, "v", OLD)
    finally:
        detach(token)


@pytest.mark.parametrize("name", MESH)
def test_a_mesh_header_no_library_refuses_is_kept(name):
    key = "HTTP_" + name.upper().replace("-", "_")
    assert mesh.extract({key: " a;b=1, c/d "}, WSGI) == {name: "a;b=1, c/d"}
    for refused in ("", " ", "a\nb", "a\0", "\x7f", "\x85", "caf\xe9", "a\r\n b", "\u2028", "x" * 4097):
        assert mesh.extract({key: refused}, WSGI) is None


def test_all_mesh_headers_together_leave_room_for_the_clients_own():
    found = mesh.extract(dict.fromkeys(MESH, "x" * 3000), WSGI.__class__(str.lower))
    assert found is not None
    assert sum(map(len, found.values())) <= 8192


@pytest.mark.parametrize("state", ["a=1\n", "a=\x0b", "caf\xe9=1", "a=\t1", "x" * 513, " "])
def test_a_tracestate_that_cannot_be_sent_stays_behind_alone(state):
    found = trace.get_current_span(
        Propagator().extract({"traceparent": f"00-{OLD}-{SPAN}-01", "tracestate": state}, Context())
    )
    assert isinstance(found, PropagatedSpan)
    assert (found.trace_id, found.trace_state) == (OLD, None)


def test_a_traces_headers_are_found_in_every_spelling_again_and_again():
    for name in ("X-B3-TraceId", "x-b3-traceid", b"X-B3-TRACEID", "B3", "TraceParent", b"tracestate"):
        assert carriers.has_trace({"Accept": "a", name: "b"})
        assert carriers.has_trace({name: "b"})
    for _ in range(2):
        assert not carriers.has_trace({"Accept": "a", b"X-B3": "b", "X-B3-TraceIds": "c", 7: "d"})


def test_names_of_other_headers_that_are_remembered_stay_few_and_short():
    for number in range(3000):
        assert not carriers.has_trace({f"X-{number}": "a", "X" * 100_000: "b"})
    assert len(carriers._others) <= 512
    assert max(map(len, map(str, carriers._others))) < 100
