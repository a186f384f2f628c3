"""wsgiref: patches ``BaseHandler.run``, which every server built on ``wsgiref.handlers`` calls with its application."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches
from obskit.instrumentation.wsgi import serve


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``wsgiref.handlers``."""
    patches.wrap(module.BaseHandler, "run", _run)


def _run(run: Any, _handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return run(*(partial(serve, application) for application in args), **kwargs)
