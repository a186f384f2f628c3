"""The default file of ``obskit collector``, in the user's folder for state.

Source: the XDG base directory specification, 0.8 (``XDG_STATE_HOME``, else ``~/.local/state``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_FOLDER, _FILE = "obskit", "collector.db"


def default_storage(environ: Mapping[str, str]) -> str:
    """Return the URL of the file; create its folder. Raises OSError if that fails."""
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the specification ignores relative paths
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    if not os.path.isabs(state):
        raise FileNotFoundError(2, "this user has no home folder", state)
    folder = os.path.join(state, _FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "no permission to write", folder)
    return f"sqlite:///{os.path.join(folder, _FILE)}"
