"""CONTRIBUTING.md can be followed word for word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLE = re.compile(
    r"The example, (?P<path>[\w/]+\.py):\n\n<!--[^\n]*-->\n```python\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
ROW = re.compile(r"^```text\n(?P<row>\".*)\n```$", re.MULTILINE)
TABLE = "MODULES: dict[str, tuple[str, ...]] = {\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package, in which `obskit/integrations` is a folder and not a link to one."""
    shutil.copytree(ROOT / "obskit", tmp_path / "obskit", ignore=shutil.ignore_patterns("__pycache__", "integrations"))
    shutil.copytree(ROOT / "integrations", tmp_path / "obskit/integrations")
    return tmp_path


def test_the_examples_are_what_is_here() -> None:
    for example in EXAMPLE.finditer(PAGE):
        assert example["text"] == (ROOT / example["path"]).read_text()


def test_an_integration_is_added_by_the_steps_of_this_page(checkout: Path) -> None:
    module, test = EXAMPLE.finditer(PAGE)
    (checkout / "obskit" / module["path"]).write_text(module["text"])
    (checkout / Path(test["path"]).name).write_text(test["text"])
    table = checkout / "obskit/integrations/__init__.py"
    row = f"    {ROW.search(PAGE)['row']}\n"
    before, after = table.read_text().replace(row, "").split(TABLE)
    table.write_text(f"{before}{TABLE}{row}{after}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", Path(test["path"]).name]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20


def test_each_make_target_is_in_the_table_of_commands() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert [target for target in targets if f"make {target}" not in PAGE] == []
