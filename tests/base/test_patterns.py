"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from obskit.base.patterns import pattern


def test_a_pattern_is_compiled_when_it_is_first_used_and_not_before():
    unfinished = pattern("(")
    with pytest.raises(re.error):
        unfinished.search("(")


def test_its_methods_are_those_of_a_compiled_pattern_and_are_kept():
    number = pattern(r"(?P<digits> \d+ )", re.VERBOSE)
    found = number.search("a12")
    assert found is not None
    assert found["digits"] == "12"
    assert number.sub("?", "a12") == "a?"
    assert vars(number)["search"].__self__ is re.compile(r"(?P<digits> \d+ )", re.VERBOSE)
