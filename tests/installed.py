"""What this Python has, asked without importing it: gevent and eventlet change a process as they are imported."""

from importlib.util import find_spec

import pytest


def need(module: str) -> None:
    """Skip the running test where ``module`` is not installed; a program that the test starts will import it."""
    try:
        is_here = find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that is not here
        is_here = False
    if not is_here:
        pytest.skip(f"needs {module}")
