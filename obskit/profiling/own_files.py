"""The files of obskit's own functions, as profiles name them: by module, wherever obskit lies.

A viewer tells by the path whether a function is the application's or a library's. Installed editable, obskit lies in a
folder like the application's, and its integrations beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

_EXAMPLES = "obskit.examples"  # applications


def own_files() -> Mapping[str, str]:
    """Return the files of obskit's imported modules, each with its name in a profile: ``obskit/base/pprof.py``.

    Only obskit's modules are asked for their files: an application's may be objects that import when they are asked.
    """
    names = [name for name in list(sys.modules) if _is_own(name)]
    found = {getattr(sys.modules.get(name), "__file__", None): name.replace(".", "/") for name in names}
    return {path: f"{name}/__init__.py" if _is_package(path) else f"{name}.py" for path, name in found.items() if path}


def _is_own(name: str) -> bool:
    return name == "obskit" or (name.startswith("obskit.") and not (name + ".").startswith(f"{_EXAMPLES}."))


def _is_package(path: str) -> bool:
    return path.endswith("__init__.py")
