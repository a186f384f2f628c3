"""The documentation is true: its Python and console blocks run, its links lead somewhere, and what it names exists.

A block that cannot run has a comment above it that says why: ``<!-- not run: REASON -->``. Others than ``python`` and
``console`` are not run. In a console block, lines after ``$`` are commands; the others are their output, in which
``...`` stands for anything and the amount of white space does not count.
"""

from __future__ import annotations

import ast
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
LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)]*))?\)")
ONLINE = "](https://github.com/obskit/obskit/blob/main/"
"""How README links to other pages: it is shown on the package index, too, where relative links lead nowhere."""
PICTURES = "](https://raw.githubusercontent.com/obskit/obskit/main/"
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NAMED_PATH = re.compile(r"`((?:obskit|integrations|tests|examples|docs|\.ci)/[\w./-]*)`")
NAMED_FUNCTION = re.compile(r"`(?P<name>[\w.]+)` \(`(?P<path>(?:obskit|integrations)/[\w/]+\.py)`\)")
NAMED_TEST = re.compile(r"`(test_\w+)`")
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


def links(page: Path) -> list[tuple[Path, str | None]]:
    """Return the file, and the heading in it, that each link within the project leads to."""
    text = page.read_text().replace(ONLINE, f"]({ROOT}/").replace(PICTURES, f"]({ROOT}/")
    return [(page.parent / link["path"] if link["path"] else page, link["anchor"]) for link in LINK.finditer(text)]


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_each_link_to_a_file_leads_to_one(page: Path) -> None:
    assert [str(path) for path, _ in links(page) if not path.exists()] == []


@every_page
def test_each_link_to_a_heading_leads_to_one(page: Path) -> None:
    assert [anchor for path, anchor in links(page) if anchor and anchor not in anchors(path)] == []


def test_readme_has_no_link_that_a_package_index_cannot_follow() -> None:
    text = (ROOT / "README.md").read_text()
    assert [link["path"] for link in LINK.finditer(text) if link["path"]] == []


def test_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    modules = re.search(r"for command in \((.*)\):", (ROOT / "obskit/cli/__init__.py").read_text())
    assert modules
    assert [name for name in modules[1].split(", ") if f"| `obskit {name}" not in text] == []


@every_page
def test_each_path_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in NAMED_PATH.findall(page.read_text()) if not (ROOT / path).exists()] == []


@every_page
def test_each_function_that_a_page_names_with_its_file_is_there(page: Path) -> None:
    named = NAMED_FUNCTION.findall(page.read_text())
    assert [name for name, path in named if name.rpartition(".")[2] not in definitions(ROOT / path)] == []


def definitions(path: Path) -> set[str]:
    """Return the names of a module's functions, methods and classes, and of what it assigns."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return stored | {node.name for node in nodes if isinstance(node, kinds)}


def test_each_test_that_the_rationale_names_exists() -> None:
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))
    named = NAMED_TEST.findall((ROOT / "RATIONALE.md").read_text())
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_blocks_links_and_names_are_found() -> None:
    assert blocks("python")
    assert blocks("console")
    assert any(links(page) for page in PAGES)
    everything = "".join(page.read_text() for page in PAGES)
    assert all(pattern.search(everything) for pattern in (NAMED_PATH, NAMED_FUNCTION))
