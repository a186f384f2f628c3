"""Numbers as protobuf writes them."""

from __future__ import annotations

import pytest

from obskit.base.protobuf import read_varint, varint

NUMBERS = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (150, "9601"),  # the example of protobuf's documentation
    (16_383, "ff7f"),
    (16_384, "808001"),
    (2**63 - 1, "ffffffffffffffff7f"),
    (2**64 - 1, "ffffffffffffffffff01"),
]


@pytest.mark.parametrize(("number", "written"), NUMBERS)
def test_a_number_is_written_and_read_in_groups_of_seven_bits(number, written):
    assert varint(number).hex() == written
    data = bytes.fromhex(f"ff{written}ff")
    assert read_varint(data, 1) == (number, len(data) - 1)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9])
def test_a_number_that_is_cut_off_is_an_error(data):
    with pytest.raises(ValueError, match="cut off"):
        read_varint(data, 0)


def test_a_number_that_does_not_end_is_an_error():
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read_varint(b"\x80" * 1000, 0)
