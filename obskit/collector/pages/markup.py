"""HTML from templates in which every value is escaped unless it is ``Html`` already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup that ``render`` or ``join`` made; never wrap text in it."""

    __slots__ = ()


def render(template: str, **values: object) -> Html:
    """Return the template with each ``{name}`` replaced by the value, escaped for text and quoted attributes."""
    return Html(template.format_map({name: _escape(value) for name, value in values.items()}))


def join(parts: Iterable[Html]) -> Html:
    """Return pieces of markup, concatenated."""
    return Html("".join(parts))


def _escape(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value))
