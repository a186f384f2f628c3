"""Runs tests of Django's by its own runner, in one process, and writes JUnit's XML as pytest would.

``python django_runner.py RESULTS LABEL ...`` in the folder ``tests`` of Django's source.
"""

from __future__ import annotations

import sys
import unittest
from xml.etree import ElementTree

Outcome = tuple[str, str]


class _Result(unittest.TextTestResult):
    outcomes: list[tuple[unittest.TestCase, str]] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.outcomes.append((test, ""))

    def addError(self, test: unittest.TestCase, err: object) -> None:
        super().addError(test, err)  # type: ignore[arg-type]
        self.outcomes.append((test, "error"))

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addFailure(test, err)  # type: ignore[arg-type]
        self.outcomes.append((test, "failure"))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        super().addSubTest(test, subtest, err)  # type: ignore[arg-type]
        if err is not None:
            self.outcomes.append((test, "failure"))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.outcomes.append((test, "skipped"))


def main() -> None:
    results, *labels = sys.argv[1:]
    sys.path[0] = ""  # not this folder
    from django.test.runner import DiscoverRunner

    DiscoverRunner.get_resultclass = lambda self: _Result  # type: ignore[method-assign]
    sys.argv = ["runtests.py", "--parallel=1", "--settings=test_sqlite", *labels]
    try:
        with open("runtests.py", encoding="utf-8") as file:
            exec(compile(file.read(), "runtests.py", "exec"), {"__name__": "__main__", "__file__": "runtests.py"})
    finally:
        _write(results)


def _write(file: str) -> None:
    root = ElementTree.Element("testsuite")
    for test, outcome in _Result.outcomes:
        module, _, name = test.id().rpartition(".")
        case = ElementTree.SubElement(root, "testcase", classname=module, name=name)
        if outcome:
            ElementTree.SubElement(case, outcome)
    ElementTree.ElementTree(root).write(file)


if __name__ == "__main__":
    main()
