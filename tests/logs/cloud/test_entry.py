"""From the formatter's line to the API's entry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud.logging_v2.types import LogEntry
from google.protobuf.json_format import ParseDict

from obskit.logs.cloud.entry import log_id, to_entry

PREFIX = "logging.googleapis.com/"
KIB = 1024


def entry_of(**fields: Any) -> dict[str, Any]:
    return to_entry(json.dumps({"severity": "INFO", "time": "2026-01-02T03:04:05.000000006Z", **fields}).encode(), "p")


def api_size(entry: dict[str, Any]) -> int:
    size: int = ParseDict(entry, LogEntry.pb(LogEntry())).ByteSize()
    return size


def test_a_trace_gets_the_project_unless_it_has_one():
    trace = {PREFIX + "spanId": "b" * 16, PREFIX + "trace_sampled": False}
    assert entry_of(**{PREFIX + "trace": "a" * 32}, **trace)["trace"] == f"projects/p/traces/{'a' * 32}"
    given = entry_of(**{PREFIX + "trace": f"projects/other/traces/{'a' * 32}"}, **trace)
    assert given["trace"] == f"projects/other/traces/{'a' * 32}"
    assert (given["spanId"], given["traceSampled"]) == ("b" * 16, False)


def test_what_does_not_fit_a_message_with_a_schema_stays_in_the_payload():
    request = {"status": "200", "latency": "0.5s", "cacheHit": True, "requestSize": 10**30, "status_text": "fine"}
    entry = entry_of(message="m", httpRequest=request)
    assert entry["httpRequest"] == {"status": 200, "latency": "0.5s", "cacheHit": True}
    assert entry["jsonPayload"] == {"message": "m", "httpRequest_": {"requestSize": 10**30, "status_text": "fine"}}


@pytest.mark.parametrize("given", ["GET /", 5, ["a"], True])
def test_a_request_that_is_no_mapping_stays_in_the_payload(given: Any):
    entry = entry_of(message="m", httpRequest=given)
    assert "httpRequest" not in entry
    assert entry["jsonPayload"]["httpRequest_"] == given


def test_more_labels_than_the_api_takes_stay_in_the_payload():
    entry = entry_of(message="m", **{PREFIX + "labels": {f"k{number}": "v" for number in range(70)}})
    assert len(entry["labels"]) == 64
    assert list(entry["jsonPayload"]["labels_"]) == [f"k{number}" for number in range(64, 70)]


@pytest.mark.parametrize(
    "fields",
    [
        {"numbers": [1] * 100_000},
        {"rows": [[1, 2, 3]] * 20_000},
        {f"k{number}": 1 for number in range(20_000)},
        {"text": "x" * 240_000},
        {"names": {f"{number}": None for number in range(20_000)}},
        {"flags": [True] * 40_000},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_an_entry_of_dense_values_stays_below_the_api_s_limit_and_keeps_them_as_text(fields: dict[str, Any]):
    entry = entry_of(message="m", **fields)
    assert api_size(entry) < 256 * KIB
    payload = entry["jsonPayload"]
    assert payload["message"] == "m"
    kept = json.loads(payload["fields"]) if "fields" in payload else payload
    assert {key: kept[key] for key in fields} == fields


def test_each_entry_is_one_that_the_api_s_schema_takes():
    labels, operation = {PREFIX + "labels": {"a": "b"}}, {PREFIX + "operation": {"id": "i", "first": True, "x": 1}}
    place = {PREFIX + "sourceLocation": {"file": "f.py", "line": "12", "function": "g"}, PREFIX + "insertId": "i" * 999}
    entry = entry_of(message="m", httpRequest={"latency": 0.25, "responseSize": 5}, **labels, **operation, **place)
    assert api_size(entry) > 0
    assert len(entry["insertId"]) == 256


@pytest.mark.parametrize(
    ("name", "safe"), [("orders", "orders"), ("a/b c", "a-b-c"), ("", "python"), ("é" * 600, "-" * 511)]
)
def test_a_log_s_name_is_made_safe(name: str, safe: str):
    assert log_id(name) == safe
