"""The documentation is true: its Python and console blocks run, and its links lead somewhere.

A block that cannot run has a comment above it that says why: ``<!-- not run: REASON -->``. Others than ``python`` and
``console`` are not run. In a console block, lines after ``$`` are commands; the others are their output, in which
``...`` stands for anything and the amount of white space does not count.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(
    r"(?P<excuse><!-- not run: .+ -->\n+)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]*)(?:#[^)]*)?\)")
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block, and where it is: ``README.md:12``."""

    place: str
    text: str


def blocks(kind: str) -> list[Block]:
    return [
        Block(f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start('text'))}", block["text"])
        for page in PAGES
        for text in [page.read_text()]
        for block in BLOCK.finditer(text)
        if block["kind"] == kind and not block["excuse"]
    ]


def run(command: list[str], folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OBSKIT_", "OTEL_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**kept, "PATH": path, "OBSKIT_EXPORTER": "none"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that is written below it."""
    parts = [part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    return [(command, output) for command, _, output in parts]


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.place)
def test_a_python_block_runs(block: Block, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(block.text)
    run([sys.executable, "-W", "error", "example.py"], tmp_path)


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.place)
def test_a_console_block_prints_what_it_says(block: Block, tmp_path: Path) -> None:
    found = commands(block.text)
    assert found, "no line begins with `$ `"
    for command, expected in found:
        printed = run(["sh", "-c", command], tmp_path)
        if expected:
            assert doctest.OutputChecker().check_output(expected, printed, LOOSELY), printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_to_a_file_leads_to_one(page: Path) -> None:
    paths = [link["path"] for link in LINK.finditer(page.read_text()) if link["path"]]
    assert [path for path in paths if not (page.parent / path).exists()] == []


def test_the_blocks_and_links_are_found() -> None:
    assert blocks("python")
    assert blocks("console")
    assert any(LINK.search(page.read_text()) for page in PAGES)
