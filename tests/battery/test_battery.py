"""The quick cases of the battery; ``make battery`` runs all of them, and longer."""

from __future__ import annotations

import pytest

from tests.battery.lab import lab
from tests.battery.page import PAGE, case_table
from tests.battery.registry import CASES, Case, Skipped

QUICK = [case for case in CASES.values() if case.quick]


@pytest.mark.parametrize("case", QUICK, ids=[f"{case.number}-{case.name}" for case in QUICK])
def test_a_fault_does_what_the_battery_says(case: Case) -> None:
    with lab(thorough=False) as place:
        try:
            case.body(place)
        except Skipped as reason:
            pytest.skip(str(reason))


def test_the_page_has_every_case() -> None:
    assert case_table() in PAGE.read_text(), "python -m tests.battery.page renews it"
