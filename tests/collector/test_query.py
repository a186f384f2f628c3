"""Searches against what the reference answered for the same query and trace."""

import json
from pathlib import Path

import pytest

from obskit.collector.query import QueryError, first_values, parse_annotation_query, parse_query
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


NOT_POSITIVE = ["x", "1.5", "-1", "0", "1e3", "9" * 20, "9" * 5000, " 1", "1 ", "1_0", "+", "0x1", "\u3007", "\u00b2"]


@pytest.mark.parametrize("name", ["limit", "endTs", "lookback", "minDuration"])
@pytest.mark.parametrize("text", NOT_POSITIVE)
def test_a_number_that_is_no_positive_whole_number_is_named_in_the_error(name, text):
    with pytest.raises(QueryError, match=f"{name} is "):
        parse_query({name: text})


@pytest.mark.parametrize(("text", "number"), [("+5", 5), ("0" * 30 + "5", 5), ("\u0661\u0660", 10), ("\uff15", 5)])
def test_a_number_is_read_as_java_reads_it(text, number):
    assert parse_query({"limit": text}).limit == number


@pytest.mark.parametrize("text", ["", "2147483648"])
def test_a_limit_is_an_int_of_java_and_must_not_be_empty(text):
    with pytest.raises(QueryError, match="limit is "):
        parse_query({"limit": text})
    assert parse_query({"limit": "2147483647"}).limit == 2_147_483_647


@pytest.mark.parametrize("lookback", ["1", "86400000", str(2**63 - 1)])
@pytest.mark.parametrize("end", ["1700000000000000000", str(2**63 - 1)])
def test_a_window_stays_within_what_a_timestamp_can_be(end, lookback):
    query = parse_query({"endTs": end, "lookback": lookback})
    for first, last in (query.window, query.window_by_millisecond):
        assert 0 <= first <= last < 2**63


def test_of_a_parameter_that_comes_twice_the_first_counts():
    assert first_values([("a", "1"), ("b", "2"), ("a", "3")]) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("blank", ["\u3000", "\u00a0", "\u2003", "\u0085"])
def test_what_java_does_not_trim_is_part_of_a_value(blank):
    assert parse_annotation_query(f"city=Kyoto{blank}") == {"city": f"Kyoto{blank}"}


def test_what_java_trims_is_not():
    assert parse_annotation_query("\x00city\t=\x1f Kyoto\n") == {"city": "Kyoto"}


def test_empty_parameters_mean_the_defaults():
    query = parse_query({"endTs": "", "lookback": "", "serviceName": "", "minDuration": ""})
    assert (query.lookback, query.limit, query.service, query.min_duration) == (86_400_000, 10, None, None)
