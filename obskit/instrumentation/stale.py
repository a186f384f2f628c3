"""Finds what took a library's function before it was patched, and so goes on calling it without a span."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches

_names_of = type.__dict__["__dict__"].__get__
"""Returns what a class has, without running any code of its metaclass."""


def stale_references(patches: Patches, libraries: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Return the names of such references in modules and their classes, as ``app.views.connect (sqlite3.connect)``.

    Also what an integration knows that was made before patching.

    ``libraries`` are those that OpenTelemetry's instrumentations patched. ``modules`` are to be looked through: they
    had been imported when patching began: later ones find their libraries patched. 1000 take some 50 ms.
    """
    originals = dict([*_ours(patches), *_wrapped(libraries)])
    found = {one for untraced in patches.untraced for one in untraced()}
    return sorted(found | set(_references(originals, modules)) if originals else found)


def _ours(patches: Patches) -> Iterator[tuple[int, str]]:
    for owner, name, original in patches.originals():
        if isinstance(original, FunctionType | type):
            place = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
            yield id(original), f"{place}.{name}"


def _wrapped(libraries: Iterable[str]) -> Iterator[tuple[int, str]]:
    proxy = getattr(sys.modules.get("wrapt"), "FunctionWrapper", ())
    for library in libraries:
        for name, value in list(vars(sys.modules.get(library, object)).items()):
            if issubclass(type(value), proxy):
                yield id(value.__wrapped__), f"{library}.{name}"


def _references(originals: dict[int, str], modules: Iterable[str]) -> Iterator[str]:
    for module_name in modules:
        module = sys.modules.get(module_name)
        if type(module) is ModuleType:
            yield from _held(vars(module), module_name, originals)
            for name, value in list(vars(module).items()):
                names = _names_of(value) if issubclass(type(value), type) else None
                if names and names.get("__module__") == module_name:  # a type that C code has not made ready has none
                    yield from _held(names, f"{module_name}.{name}", originals)


def _held(names: Mapping[str, Any], place: str, originals: dict[int, str]) -> Iterator[str]:
    """Yield what tells of references among the names of a module or a class, but for the library's own."""
    if originals.keys().isdisjoint(map(id, list(names.values()))):
        return
    for name, value in list(names.items()):
        original = originals.get(id(value))
        if original is not None and _package(place) != _package(original):
            yield f"{place}.{name} ({original})"


def _package(place: str) -> str:
    return place.partition(".")[0].lstrip("_")
