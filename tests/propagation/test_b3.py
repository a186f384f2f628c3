"""B3 is read as Zipkin's reference implementation reads it, and written as it writes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from obskit.propagation import b3
from obskit.propagation.headers import LOWER, WSGI
from obskit.tracing.propagated import PropagatedSpan

CASES = json.loads((Path(__file__).parent.parent / "data" / "b3_extract.json").read_text())
TRACE = "463ac35c9f6413ad48485a3953bb6124"
SPAN = "a2fb4a1d1a96d312"
PARENT = "0020000000000001"


def _summary(found: PropagatedSpan | None) -> dict[str, object]:
    if found is None:
        return {"trace_id": None, "sampled": None, "debug": False}
    ids = {"span_id": found.span_id, "parent_id": found.parent_id} if found.trace_id else {}
    return {"trace_id": found.trace_id, "sampled": found.sampled, "debug": found.debug, **ids}


@pytest.mark.parametrize("case", CASES, ids=[str(number) for number in range(len(CASES))])
def test_headers_mean_what_the_reference_says(case):
    lower = {name.lower(): value for name, value in case["headers"].items()}
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in case["headers"].items()}
    assert _summary(b3.extract(lower.get, LOWER)) == case["expect"]
    assert _summary(b3.extract(environ.get, WSGI)) == case["expect"]


def test_there_are_200_cases():
    assert len(CASES) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"b3": "٤" * 16 + "-" + SPAN},
        {"x-b3-traceid": "٤" * 16, "x-b3-spanid": SPAN},
        {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN + "\n"},
        {"b3": f"{TRACE}-{SPAN}-1\n"},
        {"x-b3-traceid": "+" + TRACE[1:], "x-b3-spanid": SPAN},
        {"x-b3-traceid": TRACE[:15] + "_" + TRACE[16:], "x-b3-spanid": SPAN},
    ],
)
def test_what_python_takes_for_digits_is_malformed(headers):
    assert b3.extract(headers.get, LOWER) is None


@pytest.mark.parametrize("name", ["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled"])
def test_a_giant_header_is_malformed_and_not_logged(name, caplog):
    caplog.set_level(logging.DEBUG)
    headers = {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, name: "1" * 1_000_000}
    found = b3.extract(headers.get, LOWER)
    assert found is None or name == "b3"
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("span", "multi", "single"),
    [
        (
            PropagatedSpan(TRACE, SPAN, PARENT, sampled=True),
            {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-ParentSpanId": PARENT, "X-B3-Sampled": "1"},
            {"b3": f"{TRACE}-{SPAN}-1-{PARENT}"},
        ),
        (
            PropagatedSpan(TRACE[:16], SPAN, sampled=False),
            {"X-B3-TraceId": TRACE[:16], "X-B3-SpanId": SPAN, "X-B3-Sampled": "0"},
            {"b3": f"{TRACE[:16]}-{SPAN}-0"},
        ),
        (
            PropagatedSpan(TRACE, SPAN, sampled=True, debug=True),
            {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Flags": "1"},
            {"b3": f"{TRACE}-{SPAN}-d"},
        ),
        (PropagatedSpan(TRACE, SPAN), {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN}, {"b3": f"{TRACE}-{SPAN}"}),
        (PropagatedSpan(None, None, sampled=False), {"X-B3-Sampled": "0"}, {"b3": "0"}),
        (PropagatedSpan(None, None, sampled=True, debug=True), {"X-B3-Flags": "1"}, {"b3": "d"}),
        (PropagatedSpan(None, None), {}, {}),
    ],
)
def test_what_is_written_is_what_would_be_read(span, multi, single):
    for fields_of, expected in ((b3.multi, multi), (b3.single, single)):
        headers = dict(fields_of(span))
        assert headers == expected
        lower = {name.lower(): value for name, value in headers.items()}
        found = b3.extract(lower.get, LOWER)
        state = (span.trace_id, span.span_id, span.parent_id, span.sampled, span.debug)
        read = found and (found.trace_id, found.span_id, found.parent_id, found.sampled, found.debug)
        assert read == (state if headers else None)
