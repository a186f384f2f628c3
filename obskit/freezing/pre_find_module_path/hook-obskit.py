"""Run by PyInstaller before it looks for obskit: an editable install is in none of the folders that it searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def pre_find_module_path(hook_api: Any) -> None:
    """Make PyInstaller search the folder that holds the obskit which brought this hook."""
    hook_api.search_dirs = [str(Path(__file__).parents[3])]
