"""The tables of what obskit costs, in README.md and docs/benchmarks.md, made from ``counts.json``.

``make bench-count ARGS=--record`` makes them anew; tests/test_benchmarks.py holds that they are what this makes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from environment import ROOT, record
from sides import BARE, OBSKIT, PEER, added

PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
_TABLE = re.compile(r"(?<=<!-- counts: begin -->\n).*?(?=<!-- counts: end -->)", re.DOTALL)


def table(recorded: dict[str, Any]) -> str:
    """Return a row for each operation that was counted: obskit, OpenTelemetry or another, and their ratio."""
    lines = ["| thousands of instructions | obskit | others | ratio |", "|---|---|---|---|"]
    for title, counts in recorded["counts"].items():
        each = added(counts)
        plus = "+" if BARE in counts else ""
        ours = each.pop(OBSKIT)
        for side, count in each.items():
            name = "OpenTelemetry" if side == PEER else side
            costs = f"{plus}{ours / 1000:.1f} | {plus}{count / 1000:.1f}, {name}"
            lines.append(f"| {title} | {costs} | {ours / count:.3f} |")
    build = recorded["build"]
    lines += ["", f"CPython {build['python']} ({build['compiler']}), opentelemetry-sdk {_version(recorded)}."]
    return "\n".join(lines) + "\n"


def _version(recorded: dict[str, Any]) -> str:
    return str(recorded["libraries"]["opentelemetry-sdk"])


def with_tables(page: Path) -> str:
    """Return the text of a page with its table as the record has it."""
    made = table(record())
    return _TABLE.sub(lambda _: made, page.read_text())


def write() -> None:
    """Write the tables anew."""
    for page in PAGES:
        page.write_text(with_tables(page))
