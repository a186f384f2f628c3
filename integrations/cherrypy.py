"""CherryPy: patches ``Application.__call__``, and ``Request.handle_error``, which answers an exception with 500.

It goes from attribute to attribute of the application's objects, so there are no routes.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from obskit.instrumentation.current_exchange import current_exchange
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.wsgi import no_route, wrapper


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every CherryPy application. ``module`` is ``cherrypy._cptree`` or ``cherrypy._cprequest``."""
    if module.__name__ == "cherrypy._cptree":
        patches.wrap(module.Application, "__call__", wrapper(no_route))
    else:
        patches.wrap(module.Request, "handle_error", _handle_error)


def _handle_error(wrapped: Any, _request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading an error", _blame)
    return wrapped(*args, **kwargs)


def _blame() -> None:
    exchange = current_exchange()
    if exchange is not None:
        exchange.blame(sys.exc_info()[1])
