"""What PyInstaller asks a package for: hooks that name the modules which only their names import."""

from __future__ import annotations

import os


def hook_dirs() -> list[str]:
    """Return the folder with the hooks (entry point ``pyinstaller40``)."""
    return [os.path.dirname(__file__)]
