"""Type checkers see obskit as users' programs do: what is right passes, what is wrong is reported where it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def mypy(file: Path) -> set[int]:
    """The lines that mypy objects to."""
    done = run("mypy", "--strict", "--no-incremental", "--no-error-summary", str(file))
    return {int(line) for line in re.findall(rf"{file.name}:(\d+): error", done.stdout)}


def pyright(file: Path) -> set[int]:
    """The lines that pyright objects to."""
    done = run("pyright", "--pythonpath", sys.executable, "--outputjson", str(file))
    if done.returncode > 1 or not done.stdout.lstrip().startswith("{"):
        pytest.skip(f"pyright, which needs Node.js, does not run here: {done.stderr.strip()[-200:]}")
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {problem["range"]["start"]["line"] + 1 for problem in found if problem["severity"] == "error"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=HERE, capture_output=True, text=True, timeout=300)


checkers = pytest.mark.parametrize("check", [mypy, pyright])


@checkers
def test_a_typed_program_passes(check) -> None:
    assert check(HERE / "api.py") == set()


@checkers
def test_each_mistake_is_reported_where_it_is(check) -> None:
    file = HERE / "refused.py"
    marked = {number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith("# refused")}
    assert check(file) == marked
