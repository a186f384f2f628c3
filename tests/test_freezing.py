"""What PyInstaller finds of obskit."""

from __future__ import annotations

import re
from pathlib import Path

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
