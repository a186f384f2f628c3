"""Counting what obskit costs: the comparison with the record, and the tables that are made from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "benchmarks"
TITLE = "Flask request, sampled"
RECORD = {
    "build": {"python": "3.13.0", "compiler": "GCC 12"},
    "libraries": {"flask": "3.1.3"},
    "counts": {TITLE: {"bare": 1000, "obskit": 1100, "opentelemetry": 2000}},
}


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the benchmarks' modules importable, as for a program of that folder."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == FOLDER:
            del sys.modules[name]


def judged(counts: dict[str, int], **elsewhere: Any) -> int:
    import count

    other = count._differences(RECORD, {**RECORD, **elsewhere})
    expected = count._expected(TITLE, counts, RECORD, bool(other))
    status: int = count._judge([count.Change(TITLE, counts, expected)], other)
    return status


def test_what_costs_as_much_as_recorded_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged({"bare": 1000, "obskit": 1101, "opentelemetry": 2000}) == 0
    assert capsys.readouterr().out == "What the change costs in instructions: nothing, to within 2%\n"


def test_what_costs_more_than_recorded_fails_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged({"bare": 1000, "obskit": 1103, "opentelemetry": 2000}) == 1
    assert capsys.readouterr().out.startswith(f"What the change costs in instructions: {TITLE} +3.0%\n")


def test_what_costs_less_passes_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged({"bare": 1000, "obskit": 1080, "opentelemetry": 2000}) == 0
    assert f"{TITLE} -20.0%" in capsys.readouterr().out


def test_another_build_is_compared_in_proportion_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    build = {"python": "3.13.9", "compiler": "Clang 18"}
    assert judged({"bare": 500, "obskit": 552, "opentelemetry": 1000}, build=build) == 0
    assert "python 3.13.0 (here 3.13.9), compiler GCC 12 (here Clang 18)" in capsys.readouterr().out
    assert judged({"bare": 500, "obskit": 553, "opentelemetry": 1000}, build=build) == 1


def test_other_versions_of_libraries_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged({"bare": 1000, "obskit": 1100, "opentelemetry": 2000}, libraries={"flask": "3.2.0"}) == 0
    assert "flask 3.1.3 (here 3.2.0)" in capsys.readouterr().out


def test_without_valgrind_nothing_passes(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "count.py")]
    done = subprocess.run(
        command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith("NOT CHECKED what the change costs: this machine has no valgrind")


def test_without_a_record_nothing_passes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import callgrind
    import count

    monkeypatch.setattr(sys, "argv", ["count.py"])
    monkeypatch.setattr(callgrind, "missing", list)
    monkeypatch.setattr(count.environment, "record", dict)
    assert count.main() == 1
    assert "NOT CHECKED what the change costs: there is no " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "status"), [([103] * 4 + [101], 0), ([103, 104, 105, 106, 107], 1), ([101] + [110] * 4, 0)]
)
def test_what_has_grown_is_counted_with_other_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ours: list[int], status: int
) -> None:
    import count

    def counted(titles: list[str], seed: int) -> dict[str, dict[str, int]]:
        return {title: {"obskit": ours[seed] if title == "a" else 50, "opentelemetry": 1000} for title in titles}

    monkeypatch.setattr(count, "_count", counted)
    record = {"counts": {title: {"obskit": value} for title, value in (("a", 100), ("b", 50))}}
    assert count._judge(count._changes(["a", "b"], record, False, 0.02), []) == status
    assert "b " not in capsys.readouterr().out


def test_a_record_is_the_least_of_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    import count

    monkeypatch.setattr(count, "_count", lambda titles, seed: {"a": {"obskit": 100 - seed, "bare": 10 + seed}})
    [change] = count._changes(["a"], {}, False, None)
    assert change.counts == {"obskit": 96, "bare": 10}


def test_the_tables_of_the_pages_are_made_from_the_record() -> None:
    import cost_tables

    for page in cost_tables.PAGES:
        assert cost_tables.table(cost_tables.record()) in page.read_text()
        assert cost_tables.with_tables(page) == page.read_text(), "make bench-count ARGS=--record"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
def test_bytecodes_are_those_of_the_work_alone() -> None:
    program = f"""if True:
        import sys, threading
        sys.path.insert(0, {str(FOLDER)!r})
        from bytecodes_worker import Counted

        def half():
            return 1

        counted = Counted()
        for times in (1, 10):
            counted.clear()
            counted.run(lambda: [half() for _ in range(times)])
            half()
            print(counted[half.__code__])
        counted.clear()
        other = threading.Thread(target=half)
        other.start()
        counted.run(other.join)
        print(counted[half.__code__])
    """
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    once, ten_times, elsewhere = map(int, done.stdout.split())
    assert (ten_times, elsewhere) == (10 * once, 0)
    assert once > 0
