"""The difference of two profiles: a flame graph whose boxes say more or less by sign, word and colour, and tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from obskit.collector.pages.flame_picture import Shown, short_path
from obskit.collector.pages.flame_svg import Box, flame
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.profiles.difference import Change, by_function, changes, own_time
from obskit.collector.profiles.flame import Flame

_MOST_ROWS = 30
_SAME = 0.5  # percentage points: less is chance, as a rule
_MUCH = 5.0
_KEY = """<p class="note keys"><span class="key more">▲ takes more than before</span>
<span class="key less">▼ takes less</span> <span class="key same">changed by less than {same} points</span></p>
"""
_TABLE = """<div class="card scroll"><table class="differences"><caption>{name}</caption><thead><tr><th>Function</th>\
<th class="number">before</th><th class="number">now</th><th class="number">points</th></tr></thead><tbody>
{rows}</tbody></table></div>
"""
_LINE = """<tr><td><a href="/profiles?{query}">{function}</a> <span class="dim" title="{path}">{file}</span></td>\
<td class="number">{before}</td><td class="number">{now}</td><td class="number">\
<span class="key {kind}">{points}</span></td></tr>
"""


def difference(before: Flame, shown: Shown) -> Html:
    """Return picture and tables of what changed since ``before``; neither may be empty."""
    top = changes(before, shown.flame)
    totals = before.root.value, shown.total
    own = by_function(own_time(before.own.items()), own_time(shown.flame.own.items()), totals)
    every = by_function(before.total, shown.flame.total, totals)
    return join(
        [
            render(_KEY, same=_SAME),
            flame("Flame graph of the difference", top, _parts, partial(_box, shown)),
            _table(shown, "Functions themselves, by how much they changed", own),
            _table(shown, "Functions with all that they call", every),
        ]
    )


def _parts(change: Change) -> Iterator[tuple[float, Change]]:
    return ((child.width, child) for child in change.children)


def _box(shown: Shown, change: Change, is_top: bool) -> Box:
    function, file = change.place
    where = f" ({file}:{change.line})" if file else ""
    sign = _said(change).split(" ")[0] + " " if _kind(change) != "same" else ""
    return Box(
        text=sign + function,
        title=f"{function}{where}: {change.before:.1f} % before, {change.now:.1f} % now, {_said(change)}",
        url=f"/profiles?{shown.of_function('' if is_top else function)}",
        kind=_kind(change) + (" much" if abs(change.points) >= _MUCH else ""),
    )


def _kind(change: Change) -> str:
    return "same" if abs(change.points) < _SAME else "more" if change.points > 0 else "less"


def _said(change: Change) -> str:
    """Return ``▲8.3 points``, with ``new`` or ``gone`` for a function that one of the two does not have."""
    if abs(change.points) < 0.05:
        return "0.0 points"
    word = "" if change.before and change.now else ", gone" if change.before else ", new"
    return f"{'▲' if change.points > 0 else '▼'}{abs(change.points):.1f} points{word}"


def _table(shown: Shown, name: str, found: list[Change]) -> Html:
    rows = join(
        render(
            _LINE,
            query=shown.of_function(change.place[0]),
            function=change.place[0],
            path=change.place[1],
            file=short_path(change.place[1]),
            before=f"{change.before:.1f} %",
            now=f"{change.now:.1f} %",
            kind=_kind(change),
            points=_said(change).replace(" points", ""),
        )
        for change in found[:_MOST_ROWS]
    )
    return render(_TABLE, name=name, rows=rows)
