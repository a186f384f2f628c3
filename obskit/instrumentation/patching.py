"""Wrapping a library's functions so that it can always be undone, and our failures never reach the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial, wraps
from inspect import isfunction
from typing import Any

from obskit.base.failures import failed
from obskit.base.stand_in import stand_in
from obskit.base.values import error_text
from obskit.instrumentation.client import ClientExchange

_MISSING = object()

Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
Before = Callable[[Any, list[Any], dict[str, Any]], ClientExchange | None]
"""Looks at a call (instance, args, kwargs) before it is made; may change ``args`` and ``kwargs`` in place."""
After = Callable[[ClientExchange, Any], None]
"""Looks at what the call returned, and finishes the exchange: at once, or when the body is over."""
Make = Callable[[Any, "Patch"], Any]
"""Makes of what an attribute is what it becomes, which may ask the patch whether it is still active."""


class Patch:
    """One replaced attribute of a class or module."""

    def __init__(self, owner: Any, name: str, make: Make) -> None:
        self.owner = owner
        self.name = name
        self.active = True
        self.original = vars(owner).get(name, _MISSING)
        self.replacement = make(_find(owner, name), self)
        setattr(owner, name, self.replacement)

    def holds(self) -> bool:
        """Return whether calls still come here: False where the attribute was replaced, as by reloading its module.

        A later wrapper of ``owner.name`` may hold the bound method that the look-up gave it.
        """
        ours = getattr(self.replacement, "__func__", self.replacement)
        found = vars(self.owner).get(self.name)
        while found is not None:
            if getattr(found, "__func__", found) is ours:
                return True
            found = getattr(found, "__wrapped__", None)
        return False

    def remove(self) -> None:
        """Put the original back; if another wrapper was put around ours since, only stop acting."""
        self.active = False
        if vars(self.owner).get(self.name) is not self.replacement:
            return
        if self.original is _MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)


def _find(owner: Any, name: str) -> Any:
    """Return what ``owner`` has or inherits, itself: a classmethod, not the method it makes."""
    for place in getattr(owner, "__mro__", (owner,)):
        if name in vars(place):
            return vars(place)[name]
    raise AttributeError(f"{owner!r} has no {name!r} to patch: is this version of the library supported?")


def _stand_in(in_class: bool, wrapper: Wrapper, found: Any, patch: Patch) -> Any:
    """Return what stands in for ``found``: of its kind, so that it is bound, copied, pickled and inspected alike."""
    if isinstance(found, classmethod | staticmethod):
        inside = _method if isinstance(found, classmethod) else _function
        return type(found)(stand_in(found.__func__, inside(found.__func__, wrapper, patch)))
    bound = in_class and hasattr(type(found), "__get__")
    made = stand_in(found, (_method if bound else _function)(found, wrapper, patch))
    return staticmethod(made) if in_class and not bound else made


def _function(wrapped: Any, wrapper: Wrapper, patch: Patch) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        return wrapper(wrapped, None, args, kwargs) if patch.active else wrapped(*args, **kwargs)

    return function


def _method(wrapped: Any, wrapper: Wrapper, patch: Patch) -> Callable[..., Any]:
    bind = wrapped.__get__

    def method(instance: Any = _MISSING, /, *args: Any, **kwargs: Any) -> Any:
        if patch.active and instance is not None and instance is not _MISSING:
            return wrapper(bind(instance), instance, args, kwargs)
        if instance is _MISSING:  # it will say itself what is missing
            return wrapped(*args, **kwargs)
        return wrapped(instance, *args, **kwargs)

    return method


class Patches:
    """All that is patched. Patching the same thing twice is patching it once.

    ``installed`` has the integrations that patched their library, each with the module that was imported for it;
    ``refused`` those whose library is left alone, with the reason. ``untraced`` has functions that return, for
    ``stats()``, what was made before patching and is not traced for that.
    """

    def __init__(self) -> None:
        self._patches: dict[tuple[int, str], Patch] = {}
        self._undo: list[Callable[[], object]] = []
        self.untraced: list[Callable[[], list[str]]] = []
        self.installed: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._lock = threading.Lock()

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        """Replace ``owner.name`` by a function that calls ``wrapper(wrapped, instance, args, kwargs)``.

        ``wrapped`` is bound to ``instance``, which is the class for a classmethod, and None for a staticmethod or a
        module's function. Raises AttributeError where there is no such attribute.
        """
        self.replace(owner, name, partial(_stand_in, isinstance(owner, type), wrapper))

    def replace(self, owner: Any, name: str, make: Make) -> None:
        """Replace ``owner.name`` by what ``make`` makes of it: a class of C by a subclass that can be patched."""
        with self._lock:
            earlier = self._patches.get((id(owner), name))
            if earlier is None or not earlier.holds():
                self._patches[id(owner), name] = Patch(owner, name, make)
                if earlier is not None:
                    earlier.active = False

    def around(self, owner: Any, name: str, before: Before, after: After) -> None:
        """Trace calls of the method ``owner.name``: ``before`` starts an exchange, ``after`` sees the result."""
        self.replace(owner, name, partial(_around, before, after))

    def around_async(self, owner: Any, name: str, before: Before, after: After) -> None:
        """Trace calls of the method ``owner.name``, a coroutine function."""
        self.replace(owner, name, partial(_around_async, before, after))

    def attempt(self, name: str, module: str, install: Callable[[], object]) -> None:
        """Patch all that the integration ``name`` patches in ``module``, or nothing. Raises what ``install`` raises."""
        before = list(self._patches.values()), len(self._undo)
        try:
            install()
        except Exception as error:
            self.refused[name] = error_text(error)
            self._take_back(*before)
            raise
        self.installed.setdefault(name, module)

    def _take_back(self, patches: list[Patch], undone: int) -> None:
        for key, patch in list(self._patches.items()):
            if patch not in patches:
                patch.remove()
                del self._patches[key]
        while len(self._undo) > undone:
            self._undo.pop()()

    def on_remove(self, undo: Callable[[], object]) -> None:
        """Let ``remove()`` call ``undo``: for signals and the like."""
        self._undo.append(undo)

    def targets(self) -> list[tuple[Any, str]]:
        """Return what is patched, as pairs of a class or module and an attribute's name."""
        return [(patch.owner, patch.name) for patch in self._patches.values()]

    def originals(self) -> list[tuple[Any, str, Any]]:
        """Return class or module, name and what was there, of each attribute that is patched."""
        return [(patch.owner, patch.name, patch.original) for patch in self._patches.values()]

    def names(self) -> list[str]:
        """Return what is patched, as text such as ``Flask.__call__``."""
        return [f"{owner.__name__}.{name}" for owner, name in self.targets()]

    def remove(self) -> None:
        """Undo everything, last first."""
        for undo in reversed([*(patch.remove for patch in self._patches.values()), *self._undo]):
            undo()
        self._patches.clear()
        self._undo.clear()
        self.untraced.clear()
        self.installed.clear()
        self.refused.clear()


def guarded(what: str, do: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call ``do``; if that raises, count ``what`` as failed."""
    try:
        do(*args, **kwargs)
    except Exception:
        failed(what)


def unbound(found: Any) -> Callable[..., Any]:
    """Return what calls the method ``found`` with its instance as first argument: a function itself."""
    return found if isfunction(found) else lambda instance, *args, **kwargs: found.__get__(instance)(*args, **kwargs)


def _around(before: Before, after: After, found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    def method(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not patch.active:
            return wrapped(instance, *args, **kwargs)
        changed = list(args)
        try:
            exchange = before(instance, changed, kwargs)
        except Exception:
            failed("starting a client span")
            exchange = None
        if exchange is None:
            return wrapped(instance, *args, **kwargs)
        token = exchange.enter()
        try:
            result = wrapped(instance, *changed, **kwargs)
        except BaseException as error:
            exchange.finish(error)
            raise
        finally:
            exchange.leave(token)
        try:
            after(exchange, result)
        except Exception:
            failed("reading a response")
            exchange.finish()
        return result

    return method


def _around_async(before: Before, after: After, found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def method(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not patch.active:
            return await wrapped(instance, *args, **kwargs)
        changed = list(args)
        try:
            exchange = before(instance, changed, kwargs)
        except Exception:
            failed("starting a client span")
            exchange = None
        if exchange is None:
            return await wrapped(instance, *args, **kwargs)
        token = exchange.enter()
        try:
            result = await wrapped(instance, *changed, **kwargs)
        except BaseException as error:
            exchange.finish(error)
            raise
        finally:
            exchange.leave(token)
        try:
            after(exchange, result)
        except Exception:
            failed("reading a response")
            exchange.finish()
        return result

    return method
