"""Searches against what the reference answered for the same query and trace."""

import json
from pathlib import Path

import pytest

from obskit.collector.query import QueryError, parse_annotation_query, parse_query
from obskit.zipkin.json_v2 import decode_list

CASES = json.loads((Path(__file__).parents[1] / "data" / "query_match.json").read_text(encoding="utf-8"))


def params_of(case):
    return {name: str(value) for name, value in case["query"].items()}


@pytest.mark.parametrize("case", [case for case in CASES if "match" in case], ids=lambda case: str(CASES.index(case)))
def test_a_trace_matches_when_the_reference_says_so(case):
    spans = decode_list(json.dumps(case["spans"]).encode())
    assert parse_query(params_of(case)).matches(spans) is case["match"]


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: str(CASES.index(case)))
def test_a_query_that_the_reference_refuses_is_refused(case):
    with pytest.raises(QueryError):
        parse_query(params_of(case))


@pytest.mark.parametrize("case", [case for case in CASES if "parsed_annotation_query" in case], ids=lambda case: "")
def test_an_annotation_query_is_read_as_the_reference_reads_it(case):
    assert parse_annotation_query(case["query"]["annotationQuery"]) == case["parsed_annotation_query"]


def test_a_bare_word_does_not_replace_a_value_of_the_same_key():
    assert parse_annotation_query("a=1 and a") == {"a": "1"}
    assert parse_annotation_query("a=1 and a=") == {"a": ""}


@pytest.mark.parametrize("text", ["x", "1.5", "-1", "0", "1e3", "9" * 19, "9" * 5000, "\u0661", " 1"])
def test_a_number_that_is_no_positive_whole_number_is_named_in_the_error(text):
    with pytest.raises(QueryError, match="limit is "):
        parse_query({"limit": text})


def test_empty_parameters_mean_the_defaults():
    query = parse_query({"endTs": "", "lookback": "", "limit": "", "serviceName": "", "minDuration": ""})
    assert (query.lookback, query.limit, query.service, query.min_duration) == (86_400_000, 10, None, None)
