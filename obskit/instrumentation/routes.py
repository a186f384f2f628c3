"""Routes that are regular expressions, made readable."""

from __future__ import annotations

import re
from functools import lru_cache

_GROUP = re.compile(r"(?<!\\)\((?:\?P<(\w+)>|(\?:)|(\?))?([^()]*)\)[?*+]?")
_ANCHOR = re.compile(r"(?<!\\)[\^$]|\\[AZ]")
_ESCAPE = re.compile(r"\\(\W)")


@lru_cache(maxsize=1024)
def readable(route: str) -> str:
    """Return a path or regular expression as a path: ``/orders/<int:pk>``, ``/articles/<year>/``."""
    found = 1
    while found:
        route, found = _GROUP.subn(_group_name, route)
    return "/" + _ESCAPE.sub(r"\1", _ANCHOR.sub("", route)).lstrip("/")


def _group_name(group: re.Match[str]) -> str:
    """Return ``<name>``, what a group holds that captures nothing, or nothing for look-aheads and flags."""
    name, plain, special, inside = group.groups()
    if name:
        return f"<{name}>"
    if plain:
        return str(inside)
    return "" if special else "<var>"
