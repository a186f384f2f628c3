"""The default service name: that of the application, not of the server that runs it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence

from obskit.base.patterns import pattern

_SERVERS = frozenset(["daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "waitress", "waitress-serve"])
_APPLICATION = pattern(r"[^\W\d][\w.]*:[^\W\d][\w.]*(\(.*\))?")  # orders.app:app, but not host:8000
_MODULE = pattern(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def default_service(environ: Mapping[str, str]) -> str:
    """Return the name of the served application's package; without one, of the program that was started."""
    try:
        program, arguments = _started()
        served = _served(program, arguments, environ)
        return (_package(served) if served else "") or program or "python"
    except Exception:  # the program replaced sys.argv
        return "python"


def _started() -> tuple[str, Sequence[str]]:
    """Return the program's name, which is the package's for ``python -m package.module``, and its arguments."""
    arguments = list(getattr(sys, "argv", None) or [""])
    if arguments[0] == "-m":  # called before Python has found the module
        arguments = sys.orig_argv[sys.orig_argv.index("-m") + 1 :]
        return arguments[0].partition(".")[0], arguments[1:]
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name != "__main__":  # the name of the entry module of an archive or a folder
        return spec.name.partition(".")[0], arguments[1:]
    folder, file = os.path.split(arguments[0])  # pathlib costs 10 ms of every start
    name = os.path.splitext(file)[0]
    name = os.path.basename(folder) if name == "__main__" else name
    return "" if name in ("-c", "-m") else name, arguments[1:]


def _served(program: str, arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the application argument of a server's command; None for any other program."""
    if program in _SERVERS:
        return _application(arguments)
    if program == "flask":
        return _option(arguments, "--app", "-A") or environ.get("FLASK_APP")
    if program == "celery":
        return _option(arguments, "--app", "-A") or environ.get("CELERY_APP")
    if program in ("django", "django-admin", "manage"):
        return _option(arguments, "--settings") or environ.get("DJANGO_SETTINGS_MODULE")
    return None


def _application(arguments: Sequence[str]) -> str | None:
    """Return the argument that names an application: one with a colon, else a module name not after an option, or last.

    Only the server knows which of its options take a value.
    """
    for argument in arguments:
        if _APPLICATION.fullmatch(argument):
            return argument
    before = ["", *arguments]
    alone = [one for previous, one in zip(before, arguments, strict=False) if previous[:1] != "-"]
    return next((one for one in [*alone, *arguments[-1:]] if _MODULE.fullmatch(one) and not one.endswith(".py")), None)


def _option(arguments: Sequence[str], *names: str) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = argument.partition("=")
        if name in names:
            return value if given else following
    return None


def _package(served: str) -> str:
    """Return the package of ``orders.app:app``, or the name of a file such as ``services/orders.py``."""
    module = re.split(r"[:(]", served)[0].strip()
    folder, file = os.path.split(module)
    return os.path.splitext(file)[0] if folder or file.endswith(".py") else module.partition(".")[0]
