"""Addresses in the text form of the reference, which is not that of the standard library."""

import pytest

from obskit.zipkin.addresses import parse_ip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", ("ipv4", "1.2.3.4")),
        ("01.2.3.004", ("ipv4", "01.2.3.004")),
        ("::1.2.3.4", ("ipv4", "1.2.3.4")),
        ("::FFFF:1.2.3.4", ("ipv4", "1.2.3.4")),
        ("::ffff:102:304", ("ipv6", "::ffff:102:304")),
        ("::", ("ipv6", "::")),
        ("::00001", ("ipv6", "::1")),
        ("1::", ("ipv6", "1::")),
        ("2001:DB8:0:1:1:1:1:1", ("ipv6", "2001:db8::1:1:1:1:1")),
        ("2001:0:0:4:0:0:0:0", ("ipv6", "2001::4:0:0:0:0")),
        ("1:0:2:0:0:3:0:0", ("ipv6", "1:0:2::3:0:0")),
        ("1:0:0:2:3:0:0:4", ("ipv6", "1::2:3:0:0:4")),
        ("1:2:3:4:5:6:7:8", ("ipv6", "1:2:3:4:5:6:7:8")),
    ],
)
def test_an_address_has_one_text_form(text, expected):
    assert parse_ip(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "1.2.3", "1.2.3.256", "1.2.3.0004", "1.2.3.4:80", "\u0661.2.3.4", "1.2.3.4\n", ":", ":::", "::g"],
)
def test_what_is_no_address_is_none(text):
    assert parse_ip(text) is None


@pytest.mark.parametrize(
    "text",
    ["1::2::3", "1:2:3:4:5:6:7::8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", ":2:3:4:5:6:7:8", "::10000", "::1%eth0"],
)
def test_eight_groups_of_four_digits_make_an_ipv6_address_and_a_double_colon_stands_for_at_least_one(text):
    assert parse_ip(text) is None


@pytest.mark.parametrize("text", ["0:0:0:0:0:ffff:1.2.3.4", "64:ff9b::1.2.3.4", "::fff1:1.2.3.4"])
def test_other_dotted_tails_are_no_address(text):
    assert parse_ip(text) is None
