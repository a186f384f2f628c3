"""Spans become those of Cloud Trace's API as Zipkin's own collector for it makes them; what we add is apart."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from obskit.export.cloud_trace.translation import Unacceptable, add, check, fit, moment, times, translate
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.model import Annotation, Span

pytest.importorskip("google.cloud.trace_v2", reason="needs the extra gcp")

CASES = json.loads((Path(__file__).parents[2] / "data" / "cloud_trace.json").read_text())
DAY = 24 * 3600 * 1_000_000
NOW = 1_700_000_000_000_000


def message(span: dict[str, Any]) -> Any:
    """Google's own type, filled by a strict reading of the JSON."""
    from google.cloud.trace_v2.types import Span as GoogleSpan
    from google.protobuf.json_format import ParseDict

    return ParseDict(span, GoogleSpan.pb(GoogleSpan()))


def span(**fields: Any) -> Span:
    given = {"trace_id": "1" * 32, "id": "2" * 16, "name": "get", "timestamp": NOW, "duration": 5}
    return Span(**{**given, **fields})


def made(**fields: Any) -> dict[str, Any]:
    """A span as it is sent."""
    given = span(**fields)
    result = translate(given, "p", "obskit")
    add(result, given)
    fit(result)
    message(result)
    return result


@pytest.mark.parametrize("case", CASES, ids=map(str, range(len(CASES))))
def test_the_translation_equals_zipkins(case):
    spans = decode_list(json.dumps(case["spans"]).encode())
    ours = [translate(one, "p", "zipkin-java") for one in spans]
    assert [message(one) for one in ours] == [message(one) for one in case["v2"]]


@pytest.mark.parametrize("case", CASES, ids=map(str, range(len(CASES))))
def test_what_is_sent_is_zipkins_translation_with_the_named_additions(case):
    """Within the limits nothing else changes."""
    for given in decode_list(json.dumps(case["spans"]).encode()):
        plain = translate(given, "p", "zipkin-java")
        full = copy.deepcopy(plain)
        add(full, given)
        added = {key: value for key, value in full.items() if key not in plain}
        assert set(added) <= {"spanKind", "status", "startTime", "endTime"}
        assert {key: full[key] for key in plain} == plain
        fitted = copy.deepcopy(full)
        fit(fitted)
        message(fitted)
        if not any(word in json.dumps(fitted) for word in ("truncatedByteCount", "dropped")):
            assert fitted == full


def test_the_kind_is_given_as_the_apis_own_too():
    assert [made(kind=kind)["spanKind"] for kind in ("CLIENT", "SERVER", "PRODUCER", "CONSUMER")] == [
        "CLIENT",
        "SERVER",
        "PRODUCER",
        "CONSUMER",
    ]
    assert "spanKind" not in made()


def test_an_error_tag_is_the_status_and_stays_an_attribute():
    failed = made(tags={"error": "no such order"})
    assert failed["status"] == {"code": 2, "message": "no such order"}
    assert failed["attributes"]["attributeMap"]["error"] == {"stringValue": {"value": "no such order"}}
    assert made(tags={"error": ""})["status"] == {"code": 2, "message": ""}
    assert "status" not in made(tags={"http.status_code": "500"})


def test_a_span_without_times_has_those_of_its_annotations():
    noted = made(timestamp=None, duration=None, annotations=[Annotation(NOW, "a"), Annotation(NOW + 7, "b")])
    assert (noted["startTime"], noted["endTime"]) == (moment(NOW), moment(NOW + 7))
    assert made(duration=None)["endTime"] == moment(NOW)
    assert times(span(timestamp=None, duration=None)) == (0, 0)


def test_times_are_rfc_3339_in_microseconds():
    assert moment(NOW + 1) == "2023-11-14T22:13:20.000001Z"


def test_texts_are_cut_between_characters_by_bytes_and_say_so():
    cut = made(name="é" * 100, tags={"a": "x" + "日" * 100, "b": "y" * 256}, annotations=[Annotation(NOW, "z" * 300)])
    assert cut["displayName"] == {"value": "é" * 64, "truncatedByteCount": 72}
    attributes = cut["attributes"]["attributeMap"]
    assert attributes["a"]["stringValue"] == {"value": "x" + "日" * 85, "truncatedByteCount": 45}
    assert attributes["b"]["stringValue"] == {"value": "y" * 256}
    [event] = cut["timeEvents"]["timeEvent"]
    assert event["annotation"]["description"] == {"value": "z" * 256, "truncatedByteCount": 44}
    assert made(tags={"error": "日" * 100})["status"]["message"] == "日" * 85


def test_of_too_many_attributes_those_that_cloud_trace_knows_stay():
    tags = {f"a{number:02}": "x" for number in range(40)} | {"error": "e", "http.status_code": "500"}
    full = made(kind="SERVER", tags=tags)["attributes"]
    assert len(full["attributeMap"]) == 32
    assert full["droppedAttributesCount"] == 44 - 32
    assert {"/kind", "/agent", "/http/status_code", "error", "a00"} <= set(full["attributeMap"])
    assert "a39" not in full["attributeMap"]


def test_an_attribute_whose_key_is_empty_or_too_long_is_left_out_and_counted():
    full = made(tags={"": "x", "k" * 129: "x", "é" * 65: "x", "k" * 128: "x"})["attributes"]
    assert set(full["attributeMap"]) == {"k" * 128, "/agent"}
    assert full["droppedAttributesCount"] == 3


def test_of_too_many_annotations_the_first_stay():
    full = made(annotations=[Annotation(NOW + number, str(number)) for number in range(40)])["timeEvents"]
    assert len(full["timeEvent"]) == 32
    assert full["droppedAnnotationsCount"] == 8


def test_a_lone_surrogate_becomes_a_question_mark_everywhere():
    odd = made(name="\ud800", tags={"\ud800": "a\udfff", "error": "\ud800"}, annotations=[Annotation(NOW, "\ud800")])
    assert json.loads(msgspec.json.encode(odd)) == odd
    assert odd["attributes"]["attributeMap"]["?"] == {"stringValue": {"value": "a?"}}
    assert odd["displayName"] == {"value": "?"}
    assert odd["status"]["message"] == "?"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"id": "0" * 16}, "id is zero"),
        ({"timestamp": None, "duration": None}, "no timestamp"),
        ({"timestamp": NOW - 14 * DAY - 1}, "14 days old"),
        ({"duration": 3 * DAY + 1}, "3 days ahead"),
        ({"timestamp": 2**63}, "3 days ahead"),
    ],
)
def test_a_span_that_the_api_refuses_is_known_before(fields, why):
    with pytest.raises(Unacceptable, match=why):
        check(span(**fields), NOW)


def test_spans_within_the_apis_window_are_acceptable():
    check(span(), NOW)
    check(span(timestamp=NOW - 14 * DAY), NOW)
    check(span(duration=3 * DAY), NOW)
