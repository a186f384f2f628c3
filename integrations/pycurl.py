"""pycurl: patches the steps of a transfer, on subclasses of its classes, since those of C take no new methods.

A transfer, by ``Curl.perform`` or in a ``CurlMulti``, is one span: libcurl follows redirects itself. The headers of the
trace are on a handle during the transfer only.
"""

from __future__ import annotations

from functools import cache, partial
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.curl_request import OPTIONS, HeaderLines, request_of, start_anew
from obskit.instrumentation.patching import Patch, Patches, Wrapper, guarded

_EXCHANGE = "_obskit_exchange"
_options: dict[int, str] = {}  # their names by their numbers


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every HTTP transfer. ``module`` is ``pycurl``."""
    _options.update({getattr(module, name): name for name in OPTIONS if hasattr(module, name)})
    for name, steps in _STEPS.items():
        patches.replace(module, name, partial(_subclass, module))
        for step, wrapper in steps.items():
            patches.wrap(getattr(module, name), step, wrapper)


def _subclass(module: ModuleType, base: type, _patch: Patch) -> type:
    return _the_subclass(module, base)


@cache  # so that a handle is an instance of it also after another installation
def _the_subclass(module: ModuleType, base: type) -> type:
    members = {"__module__": base.__module__, "__doc__": base.__doc__, "_obskit_base": base, "_obskit_pycurl": module}
    return type(base.__name__, (base,), members)


def _setopt(wrapped: Any, curl: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = wrapped(*args, **kwargs)
    if args[0] in _options:
        guarded("reading an option of curl", _note, curl, *args)
    return result


def _note(curl: Any, option: int, value: Any = None) -> None:
    request = request_of(curl)
    if request is not None:
        request.note(_options[option], value)


def _reset(wrapped: Any, curl: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    start_anew(curl)
    return wrapped(*args, **kwargs)


def _duphandle(wrapped: Any, curl: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    made = wrapped(*args, **kwargs)
    request = request_of(curl)
    if request is not None:
        start_anew(made, request.copy())
    return made


def _perform(wrapped: Any, curl: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = _begin(curl)
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        _end(curl, exchange, error)
        raise
    _end(curl, exchange)
    return result


def _add_handle(wrapped: Any, _multi: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = wrapped(*args, **kwargs)
    vars(args[0])[_EXCHANGE] = _begin(args[0])
    return result


def _info_read(wrapped: Any, multi: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = wrapped(*args, **kwargs)
    guarded("reading a response", _read, multi, *result)
    return result


def _read(multi: Any, _queued: int, succeeded: list[Any], broken: list[Any]) -> None:
    for curl in succeeded:
        _end(curl, vars(curl).pop(_EXCHANGE, None))
    for curl, *reason in broken:
        _end(curl, vars(curl).pop(_EXCHANGE, None), multi._obskit_pycurl.error(*reason))


def _break_off(wrapped: Any, multi_or_curl: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """End a transfer that the program has not waited for: by ``CurlMulti.remove_handle`` or ``Curl.close``."""
    curl = args[0] if args else multi_or_curl
    _end(curl, vars(curl).pop(_EXCHANGE, None))
    return wrapped(*args, **kwargs)


_STEPS: dict[str, dict[str, Wrapper]] = {
    "Curl": {
        **dict.fromkeys(("setopt", "setopt_string", "unsetopt"), _setopt),
        **dict.fromkeys(("perform", "perform_rb", "perform_rs"), _perform),
        "reset": _reset,
        "duphandle": _duphandle,
        "close": _break_off,
    },
    "CurlMulti": {"add_handle": _add_handle, "info_read": _info_read, "remove_handle": _break_off},
}


def _begin(curl: Any) -> ClientExchange | None:
    try:
        request = request_of(curl)
        if request is None or request.url is None:
            return None
        exchange = begin(request.method, request.url, None)
        if exchange is not None:
            exchange.inject(headers := HeaderLines(request.lines))
            _set_headers(curl, headers.lines)
    except Exception:
        failed("starting a client span")
        return None
    return exchange


def _end(curl: Any, exchange: ClientExchange | None, error: BaseException | None = None) -> None:
    if exchange is not None:
        guarded("reading a response", _note_response, curl, exchange)
        exchange.finish(error)


def _note_response(curl: Any, exchange: ClientExchange) -> None:
    exchange.status = curl.getinfo(curl._obskit_pycurl.RESPONSE_CODE)
    request = request_of(curl)
    _set_headers(curl, request.lines if request is not None else [])


def _set_headers(curl: Any, lines: list[Any]) -> None:
    base, option = curl._obskit_base, curl._obskit_pycurl.HTTPHEADER
    if lines:
        base.setopt(curl, option, lines)
    else:
        base.unsetopt(curl, option)
