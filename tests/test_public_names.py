"""What `import obskit` offers, and that its calls take what the documentation says."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest

import obskit
from obskit import api
from obskit.settings import OPTIONS

ROOT = Path(__file__).parent.parent


def test_the_public_names_are_these_and_all_exist():
    assert sorted(obskit.__all__) == [
        "ConfigurationError",
        "continue_trace",
        "current_span",
        "flush",
        "init",
        "inject",
        "log_context",
        "shutdown",
        "span",
        "stats",
    ]
    assert all(hasattr(obskit, name) for name in obskit.__all__)


def test_every_public_name_explains_itself():
    assert all(inspect.getdoc(getattr(obskit, name)) for name in obskit.__all__)


def test_init_takes_every_option_by_keyword_and_none_else():
    parameters = inspect.signature(obskit.init).parameters.values()
    assert [parameter.name for parameter in parameters] == [option.name for option in OPTIONS]
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert {parameter.default for parameter in parameters} == {None}


def test_the_text_of_init_explains_every_option_as_the_table_does():
    text = " ".join((inspect.getdoc(obskit.init) or "").replace("``", "`").split())
    explained = [f"- `{one.name}`: {one.meaning} Default: {one.shown_default}." for one in OPTIONS]
    assert [one for one in explained if one not in text] == []
    assert re.findall(r"- `(\w+)`: ", text) == [option.name for option in OPTIONS]


def test_timeouts_have_the_promised_defaults():
    assert inspect.signature(obskit.flush).parameters["timeout"].default == 2.0
    shutdown = inspect.signature(obskit.shutdown).parameters
    assert (shutdown["timeout"].default, shutdown["unpatch"].default) == (2.0, False)


def test_the_version_is_that_of_the_package():
    assert obskit.__version__ == version("obskit")


@pytest.mark.parametrize(
    ("option", "choices"),
    [("zipkin_encoding", api.ZipkinEncoding), ("logs", api.LogForm), ("profiler", api.ProfilerKind)],
)
def test_type_checkers_know_the_choices_that_init_takes(option, choices):
    with pytest.raises(obskit.ConfigurationError) as refusal:
        obskit.init(**{option: "neither"})
    assert f"must be one of {', '.join(get_args(choices))}" in str(refusal.value)


def promised():
    """The (module, name) pairs that docs/api.md lists."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `([\w.]+)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    return {(module, name) for names, module in rows for name in re.findall(r"\w+", names)}


def test_every_promised_name_exists_and_explains_itself():
    assert [pair for pair in promised() if not inspect.getdoc(getattr(import_module(pair[0]), pair[1]))] == []


def test_all_that_is_public_is_promised():
    packages = (obskit, import_module("obskit.testing"))
    assert {(package.__name__, name) for package in packages for name in package.__all__} <= promised()


FOR_USERS = {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "CONTRIBUTING.md"}


@pytest.mark.parametrize("page", sorted(FOR_USERS), ids=lambda page: page.name)
def test_the_documentation_imports_what_is_promised(page):
    found = re.findall(r"^\s*from (obskit[\w.]*) import ([\w, ]+)$", page.read_text(), re.MULTILINE)
    assert {(module, name.strip()) for module, names in found for name in names.split(",")} <= promised()
