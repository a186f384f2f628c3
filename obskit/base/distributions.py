"""What is installed, as the folders of its metadata say.

``importlib.metadata`` is imported only where there is something to load: it costs more than all of ``obskit.init()``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from obskit.base.failures import failed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_METADATA = (".dist-info", ".egg-info")


def entry_points(*groups: str) -> list[EntryPoint]:
    """Return the entry points of these groups by name; none where the metadata cannot be read."""
    wanted = [f"[{group}]".encode() for group in groups]
    try:
        if not any(heading in text for text in _texts() for heading in wanted):
            return []
        from importlib.metadata import entry_points as load

        return sorted((one for group in groups for one in load(group=group)), key=lambda one: one.name)
    except Exception:
        failed("looking for entry points")
        return []


def _texts() -> Iterator[bytes]:
    """Yield the text of each file of entry points; most distributions have none."""
    return map(_read, metadata_folders())


def _read(folder: str) -> bytes:
    try:
        with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
            return file.read()
    except OSError:
        return b""


def metadata_folders() -> Iterator[str]:
    """Yield the metadata folder of each distribution on ``sys.path``; those within archives are left out."""
    for place in tuple(sys.path):
        try:
            names = os.listdir(place or ".")
        except OSError:  # an archive, or no longer there
            continue
        yield from (os.path.join(place, name) for name in names if name.endswith(_METADATA))
