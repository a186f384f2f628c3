"""``obskit run -- COMMAND``: replaces this process by the command, with obskit in every Python that it starts.

Python imports ``sitecustomize`` when it starts; a folder with obskit's (``startup``) is put first on PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_FAILED = 1
_BAD_USAGE = 2
_STARTUP = os.path.join(os.path.dirname(__file__), "startup")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command. Everything after ``run`` belongs to the command, flags included."""
    from argparse import REMAINDER

    parser = subparsers.add_parser(
        "run", help="run a command with obskit.init() in each Python of it", usage="obskit run -- COMMAND..."
    )
    parser.add_argument("command", nargs=REMAINDER, metavar="COMMAND", help="for example: python app.py")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replace this process by the command; return only on failure: 2 for bad usage or a bad setting, else 1."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        return _fail(_BAD_USAGE, "COMMAND is missing; write one, such as: obskit run -- python app.py")
    problem = _bad_setting()
    if problem:
        return _fail(_BAD_USAGE, problem)
    _restore_signals()
    try:
        os.execvpe(command[0], command, {**os.environ, "PYTHONPATH": _python_path()})
    except (OSError, ValueError) as error:
        return _fail(_FAILED, f"cannot run {command[0]!r}: {getattr(error, 'strerror', None) or error}")


def _bad_setting() -> str | None:
    """Return the error for a bad setting, so that it is reported before anything is started."""
    from obskit.settings import ConfigurationError, load

    try:
        load({})
    except ConfigurationError as error:
        return str(error)
    return None


def _python_path() -> str:
    return os.pathsep.join(filter(None, [_STARTUP, os.environ.get("PYTHONPATH")]))


def _restore_signals() -> None:
    """Restore the signals that Python ignores, as exec passes that on: without SIGPIPE, ``yes | head`` never ends."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def _fail(status: int, message: str) -> int:
    print(f"obskit run: {message}", file=sys.stderr)
    return status
