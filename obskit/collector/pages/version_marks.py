"""When another version of a service began to run: lines in its charts, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from obskit.collector.pages.health import MINUTE, Health
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import moment
from obskit.collector.store.versions import Run

_MOST_MARKS = 20
_MARKS = '<svg class="versions" aria-hidden="true">{marks}</svg>'
_MARK = """<svg x="{x}%"><title>{title}</title><line y2="100%"/><text y="11"{anchor}>{version}</text></svg>"""
_LIST = """<p class="note">Versions: {entries}.</p>
"""
_ENTRY = "<b>{version}</b> since {at}{link}"
_LINK = ' (<a href="/profiles?{query}">profile compared with {before}</a>)'


def begun(runs: Sequence[Run], found: Health) -> list[Run]:
    """Return the runs that began in a time; a service's first one is no change."""
    first, end = found.first * MINUTE, (found.last + 1) * MINUTE
    return [run for run in runs[1:] if first <= run.first < end][-_MOST_MARKS:]


def marks(runs: Sequence[Run], found: Health) -> Html:
    """Return the lines to lay over a chart of the time; nothing if no version began in it."""
    some = begun(runs, found)
    steps = len(range(found.first, found.last + 1, found.step))
    length = steps * found.step * MINUTE
    made = []
    for run in some:
        x = 100 * (run.first - found.first * MINUTE) / length
        anchor = Html(' text-anchor="end" x="-4"' if x > 70 else ' x="4"')
        title = f"version {run.version} begins"
        made.append(render(_MARK, x=f"{x:.2f}", title=title, anchor=anchor, version=run.version[:24]))
    return render(_MARKS, marks=join(made)) if made else Html("")


def listed(runs: Sequence[Run], profiled: Mapping[str, str]) -> Html:
    """Return the newest versions in words. ``profiled`` are the parameters of the service's profile, if it has one."""
    if not runs:
        return Html("")
    entries = []
    for before, run in list(zip([None, *runs], runs, strict=False))[-5:][::-1]:
        link = Html("")
        if before and profiled:
            query = urlencode({**profiled, "version": run.version, "base": f"version:{before.version}"})
            link = render(_LINK, query=query, before=before.version)
        entries.append(render(_ENTRY, version=run.version, at=moment(run.first), link=link))
    parts = [part for entry in entries for part in (Html(", "), entry)][1:]
    return render(_LIST, entries=join(parts))
