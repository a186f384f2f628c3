"""W3C and Google's header are read where B3 is absent; mesh headers are copied unread."""

from __future__ import annotations

import pytest
from opentelemetry.trace import get_current_span

from obskit.propagation import cloud_trace_context, mesh, w3c
from obskit.propagation.headers import LOWER
from obskit.propagation.propagator import Propagator, extract
from obskit.tracing.propagated import PropagatedSpan

TRACE = "463ac35c9f6413ad48485a3953bb6124"
SPAN = "a2fb4a1d1a96d312"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", (TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", (TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-03", (TRACE, SPAN, True)),
        (f"00-{'0' * 16}{TRACE[:16]}-{SPAN}-01", (TRACE[:16], SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01-later-fields", (TRACE, SPAN, True)),
    ],
)
def test_a_traceparent_is_read(text, expected):
    found = w3c.extract({"traceparent": text}.get, LOWER)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01.x",
        "0" * 1_000_000,
    ],
)
def test_a_malformed_traceparent_is_none(text):
    assert w3c.extract({"traceparent": text}.get, LOWER) is None


def test_tracestate_travels_with_its_traceparent():
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=x"}
    found = w3c.extract(headers.get, LOWER)
    assert found is not None
    assert dict(w3c.fields(found)) == headers


def test_a_64_bit_trace_id_is_padded_for_w3c():
    written = w3c.fields(PropagatedSpan(SPAN, SPAN, sampled=False))
    assert written == [("traceparent", f"00-{'0' * 16}{SPAN}-{SPAN}-00")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TRACE}/42;o=1", (TRACE, f"{42:016x}", True)),
        (f"{TRACE}/42;o=0", (TRACE, f"{42:016x}", False)),
        (f"{TRACE}/42", (TRACE, f"{42:016x}", None)),
        (f"{TRACE}/{2**64 - 1};o=1", (TRACE, "f" * 16, True)),
        (f"{TRACE}/0;o=1", (TRACE, None, True)),
        (TRACE, (TRACE, None, None)),
    ],
)
def test_googles_header_is_read(text, expected):
    found = cloud_trace_context.extract({"x-cloud-trace-context": text}.get, LOWER)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{TRACE[:31]}/1",
        f"{TRACE.upper()}/1",
        f"{'0' * 16}{TRACE[:16]}/1",
        f"{TRACE[:16]}{'0' * 16}/1",
        f"{TRACE}/{2**64}",
        f"{TRACE}/x",
        f"{TRACE}/1;o=2",
        "1" * 1_000_000,
    ],
)
def test_a_malformed_google_header_is_none(text):
    assert cloud_trace_context.extract({"x-cloud-trace-context": text}.get, LOWER) is None


def test_b3_wins_over_w3c_and_w3c_over_google():
    headers = {"x-cloud-trace-context": f"{TRACE}/1"}
    assert extract(headers.get, LOWER).span_id == f"{1:016x}"  # type: ignore[union-attr]
    headers["traceparent"] = f"00-{TRACE}-{2:016x}-01"
    assert extract(headers.get, LOWER).span_id == f"{2:016x}"  # type: ignore[union-attr]
    headers["b3"] = f"{TRACE}-{3:016x}"
    assert extract(headers.get, LOWER).span_id == f"{3:016x}"  # type: ignore[union-attr]
    assert extract({}.get, LOWER) is None


def test_mesh_headers_are_kept_as_they_are_without_giants():
    headers = {"x-request-id": "r", "x-ot-span-context": "o;1", "sw8": "s" * 5000, "cookie": "secret"}
    assert mesh.extract(headers, LOWER) == {"x-request-id": "r", "x-ot-span-context": "o;1"}
    assert mesh.extract({"cookie": "secret"}, LOWER) is None
    assert mesh.extract({"baggage": "a=" + 8190 * "b"}, LOWER) is not None
    assert mesh.extract({"baggage": "a=" + 8191 * "b"}, LOWER) is None


def test_as_opentelemetry_propagator_it_reads_and_writes_everything():
    propagator = Propagator(["b3", "w3c"])
    context = propagator.extract({"b3": f"{TRACE}-{SPAN}-d", "x-request-id": "r"})
    assert get_current_span(context).get_span_context().trace_id == int(TRACE, 16)
    carrier: dict[str, str] = {}
    propagator.inject(carrier, context)
    assert carrier == {"b3": f"{TRACE}-{SPAN}-d", "traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "r"}
    assert carrier.keys() <= propagator.fields


def test_repeated_headers_are_malformed_not_one_of_them():
    propagator = Propagator()
    context = propagator.extract({"b3": [f"{TRACE}-{SPAN}-1", f"{TRACE[::-1]}-{SPAN}-1"]})
    assert not get_current_span(context).get_span_context().is_valid
