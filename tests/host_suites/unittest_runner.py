"""Runs the tests of a project by the project's own runner, in one process, and writes JUnit's XML as pytest would.

``python unittest_runner.py RESULTS PROJECT [LABEL ...]``, for Django in the folder ``tests`` of its source.
"""

from __future__ import annotations

import runpy
import sys
import unittest
from collections.abc import Callable
from xml.etree import ElementTree

_outcomes: list[tuple[unittest.TestCase, str]] = []


def _note(name: str, outcome: str) -> None:
    """Have a method of all results, whatever the runner makes of them, note what a test came to."""
    original = getattr(unittest.TextTestResult, name)

    def method(result: unittest.TextTestResult, test: unittest.TestCase, *details: object) -> None:
        original(result, test, *details)
        if name != "addSubTest" or details[-1] is not None:
            _outcomes.append((test, outcome))

    setattr(unittest.TextTestResult, name, method)


def _django(labels: list[str]) -> None:
    sys.argv = ["runtests.py", "--parallel=1", "--settings=test_sqlite", *labels]
    runpy.run_path("runtests.py", run_name="__main__")


def _tornado(labels: list[str]) -> None:
    sys.argv = ["runtests.py", *labels]
    runpy.run_module("tornado.test.runtests", run_name="__main__", alter_sys=True)


_RUN: dict[str, Callable[[list[str]], None]] = {"django": _django, "tornado": _tornado}


def main() -> None:
    results, project, *labels = sys.argv[1:]
    sys.path[0] = ""  # not this folder
    for name, outcome in _OUTCOMES.items():
        _note(name, outcome)
    try:
        _RUN[project](labels)
    finally:
        _write(results)


_OUTCOMES = {
    "addSuccess": "",
    "addError": "error",
    "addFailure": "failure",
    "addSubTest": "failure",
    "addSkip": "skipped",
    "addExpectedFailure": "",
}


def _write(file: str) -> None:
    root = ElementTree.Element("testsuite")
    for test, outcome in _outcomes:
        module, _, name = test.id().rpartition(".")
        case = ElementTree.SubElement(root, "testcase", classname=module, name=name)
        if outcome:
            ElementTree.SubElement(case, outcome)
    ElementTree.ElementTree(root).write(file)


if __name__ == "__main__":
    main()
