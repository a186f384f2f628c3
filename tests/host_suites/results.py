"""What tests came to: read from JUnit's XML, compared between runs."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

Results = dict[str, str]
Differing = dict[str, tuple[str, str]]
"""What each test came to without obskit, and with it."""


def read(file: Path) -> Results:
    """Return ``passed``, ``failed`` or ``skipped`` by the tests' names; nothing where the file is not whole."""
    try:
        cases = ElementTree.parse(file).iter("testcase")
    except (OSError, ElementTree.ParseError):
        return {}
    found: Results = {}
    for case in cases:
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        outcomes = {child.tag for child in case}
        failed = outcomes & {"failure", "error"}
        outcome = "failed" if failed else "skipped" if "skipped" in outcomes else "passed"
        if found.get(name) != "failed":  # of tests that share a name (subtests), the worst counts
            found[name] = outcome
    return found


def differing(plain: Results, ours: Results) -> Differing:
    """Return the tests that came to something else with obskit."""
    names = plain.keys() | ours.keys()
    both = {name: (plain.get(name, "missing"), ours.get(name, "missing")) for name in sorted(names)}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}
