"""What PyInstaller finds of obskit."""

from __future__ import annotations

import re
import runpy
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import obskit
from obskit.freezing import hook_dirs

ROOT = Path(__file__).parent.parent


def test_pyinstaller_finds_a_hook_that_names_the_integrations():
    declared = re.search(
        r"\[project.entry-points.pyinstaller40\]\nhook-dirs = \"(.*?)\"", (ROOT / "pyproject.toml").read_text()
    )
    assert declared
    assert declared[1] == "obskit.freezing:hook_dirs"
    (folder,) = hook_dirs()
    assert 'collect_submodules("obskit.integrations")' in (Path(folder) / "hook-obskit.py").read_text()


def test_pyinstaller_finds_an_editable_install_which_only_an_import_hook_of_setuptools_knows():
    (folder,) = hook_dirs()
    hook = runpy.run_path(f"{folder}/pre_find_module_path/hook-obskit.py")
    search = SimpleNamespace(search_dirs=["/site-packages"])
    hook["pre_find_module_path"](search)
    found = PathFinder.find_spec("obskit", search.search_dirs)
    assert found
    assert found.origin == obskit.__file__
