"""What docs/reliability.md says of the cases: written from the cases themselves."""

from __future__ import annotations

import re

from tests.battery import cases  # noqa: F401 - registers them
from tests.battery.lab import ROOT
from tests.battery.registry import CASES

PAGE = ROOT / "docs" / "reliability.md"


def case_table() -> str:
    """Return the table of all cases."""
    lines = ["| | case | fault | expected |", "|---|---|---|---|"]
    for number, case in sorted(CASES.items()):
        quick = "" if case.quick else " (`make battery` only)"
        lines.append(f"| {number} | {case.name} | {escaped(case.fault)} | {escaped(case.expected)}{quick} |")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return ``text`` as it is shown in a cell."""
    return re.sub(r"([|<>*_])", r"\\\1", text)


def write(section: str, text: str) -> None:
    """Replace what stands between ``<!-- section -->`` and ``<!-- end of section -->``."""
    between = re.compile(rf"(?<=<!-- {section} -->\n).*?(?=<!-- end of {section} -->)", re.DOTALL)
    PAGE.write_text(between.sub(lambda _: text, PAGE.read_text()))


if __name__ == "__main__":
    write("cases", case_table())
