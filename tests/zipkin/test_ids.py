"""Ids as the reference normalises them."""

import pytest

from obskit.zipkin.ids import normalise_parent_id, normalise_span_id, normalise_trace_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "0000000000000001"),
        ("463ac35c9f6413ad", "463ac35c9f6413ad"),
        ("1463ac35c9f6413ad", "0000000000000001463ac35c9f6413ad"),
        ("0463ac35c9f6413ad", "0000000000000000463ac35c9f6413ad"),
        ("0000000000000000463ac35c9f6413ad", "463ac35c9f6413ad"),
        ("463ac35c9f6413ad0000000000000000", "463ac35c9f6413ad0000000000000000"),
    ],
)
def test_a_trace_id_is_padded_to_16_or_32_characters(text, expected):
    assert normalise_trace_id(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0" * 32, "1" * 33, "A", "0x1", "1 ", "\u0661"])
def test_a_bad_trace_id_is_refused(text):
    with pytest.raises(ValueError, match="traceId"):
        normalise_trace_id(text)


def test_a_parent_id_of_zero_means_no_parent():
    assert normalise_parent_id("0") is None
    assert normalise_parent_id("a") == "000000000000000a"


def test_sixteen_zeros_are_no_span_id_while_the_reference_lets_fewer_pass():
    assert normalise_span_id("0") == "0000000000000000"
    with pytest.raises(ValueError, match="all zeros"):
        normalise_span_id("0" * 16)
