"""Python imports this at its start under ``obskit run``: it runs the program's own sitecustomize, then obskit.

It runs in each Python that the command starts, even one without obskit, so no failure of it may stop the program.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _chain() -> None:
    """Import the sitecustomize that Python would have found without this folder; Python reports its errors."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    ours = sys.modules.pop("sitecustomize")
    try:
        import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)


def _start() -> None:
    try:
        from obskit import ConfigurationError, init
    except Exception as error:  # not only ImportError: an older Python may fail on the syntax
        _warn(f"{sys.executable} runs without obskit: {error}")
        return
    try:
        _call(init)
    except ConfigurationError as error:
        _warn(str(error))
        os._exit(2)  # site prints exceptions as warnings, but SystemExit would end Python
    except Exception as error:
        _warn(f"obskit did not start: {error!r}")


def _warn(message: str) -> None:
    sys.stderr.write(f"obskit run: {message}\n")
    sys.stderr.flush()


def _call(init: Callable[[], None]) -> None:
    """Call ``init`` with the argv[0] that the program will see, which ``python -m`` has not set yet."""
    shown = sys.argv[0]
    try:
        if shown == "-m":
            sys.argv[0] = _module().rpartition(".")[2]
        init()
    finally:
        sys.argv[0] = shown


def _module() -> str:
    """Return the NAME of ``python -m NAME`` or ``-mNAME``, which stands before the program's own arguments."""
    argument = sys.orig_argv[-len(sys.argv)]
    return argument.partition("m")[2] if argument.startswith("-") else argument


try:
    _chain()
finally:
    _start()
