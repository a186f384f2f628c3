"""Installed packages and their entry points, read from the folders of their metadata.

``importlib.metadata`` is not used: its import alone takes longer than all of ``obskit.init()``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from obskit.base.failures import failed
from obskit.base.records import NamedTuple

_METADATA = (".dist-info", ".egg-info")


class EntryPoint(NamedTuple):
    """An entry point of a package: ``value`` is ``module`` or ``module:attribute``."""

    group: str
    name: str
    value: str

    def load(self) -> Any:
        """Import and return the object. May raise any exception."""
        module, _, attributes = self.value.partition("[")[0].strip().partition(":")
        found: Any = import_module(module.strip())
        for attribute in filter(None, attributes.strip().split(".")):
            found = getattr(found, attribute)
        return found


def entry_points(*groups: str) -> list[EntryPoint]:
    """Return the entry points of these groups by name; none if the metadata cannot be read."""
    try:
        texts = _texts(tuple(_places()))
        wanted = [text for text in texts if any(f"[{group}]" in text for group in groups)]
        found = [one for text in wanted for one in _parse(text) if one.group in groups]
        return sorted(found, key=lambda one: one.name)
    except Exception:
        failed("looking for entry points")
        return []


def installed() -> dict[str, str]:
    """Return the version of each installed package, by its name in lower case with hyphens."""
    try:
        return {name: _version(folder) for name, folder in _folders(tuple(_places())).items()}
    except Exception:
        failed("looking for what is installed")
        return {}


def _version(folder: str) -> str:
    """Return the version in a name such as ``Flask-3.1.0.dist-info``; one of an egg has Python's behind it."""
    return os.path.splitext(os.path.basename(folder))[0].partition("-")[2].partition("-py")[0]


def _parse(text: str) -> Iterator[EntryPoint]:
    """Yield the entry points in a file's text (packaging.python.org, "Entry points specification")."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield EntryPoint(group, name.strip(), value.strip())


_Place = tuple[str, int]  # a folder of sys.path, and when an entry was last added to it or removed


def _places() -> Iterator[_Place]:
    for place in map(str, tuple(sys.path)):
        if os.path.isdir(place or "."):  # not an archive
            yield place, os.stat(place or ".").st_mtime_ns


@lru_cache(maxsize=1)
def _folders(places: tuple[_Place, ...]) -> dict[str, str]:
    """Return the folder of metadata of each package; of duplicates, that of the one that would be imported."""
    folders: dict[str, str] = {}
    for place, _ in places:
        for name in os.listdir(place or "."):
            if name.endswith(_METADATA):
                package = os.path.splitext(name)[0].partition("-")[0]
                folders.setdefault(package.replace("_", "-").replace(".", "-").lower(), os.path.join(place, name))
    return folders


@lru_cache(maxsize=1)
def _texts(places: tuple[_Place, ...]) -> tuple[str, ...]:
    return tuple(filter(None, map(_read, _folders(places).values())))


def _read(folder: str) -> str:
    """Return the entry points of a distribution; most have none."""
    try:
        with open(os.path.join(folder, "entry_points.txt"), "rb", buffering=0) as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""
