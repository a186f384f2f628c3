"""Python imports this when it starts under ``obskit run``: the program's own sitecustomize first, then obskit.

It runs in each Python that the command starts, also in one without obskit: none of its failures may stop the program.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _chain() -> None:
    """Import the sitecustomize that Python would have found without this folder; its errors are Python's to tell."""
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
    except Exception as error:  # not only ImportError: an older Python fails on the syntax, say
        _warn(f"{sys.executable} runs without obskit: {error}")
        return
    try:
        _call(init)
    except ConfigurationError as error:
        _warn(str(error))
        os._exit(2)  # site takes an exception for a warning, and SystemExit for a crash of Python itself
    except Exception as error:
        _warn(f"obskit did not start: {error!r}")


def _warn(message: str) -> None:
    sys.stderr.write(f"obskit run: {message}\n")
    sys.stderr.flush()


def _call(init: Callable[[], None]) -> None:
    """Call ``init`` with the argv[0] that the program will see: for ``python -m`` it is not there yet."""
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
