"""The requests that were still running when their processes last said something."""

from __future__ import annotations

import time

from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count, duration, moment
from obskit.collector.pages.website import Site
from obskit.collector.told_running import FORGOTTEN, RunningRequest

_MOST = 20
_PART = """<h2>Running now</h2>
<div class="card scroll"><table class="running">
<thead><tr><th>Service</th><th>Began</th><th class="number">Runs for</th><th>Trace</th><th>Process</th>\
<th>Said at</th></tr></thead><tbody>
{rows}</tbody></table></div>
<p class="note">{said}A process names its oldest requests with each message: those that began since are missing, and \
those of a process that was killed stay here for {minutes} minutes.</p>
"""
_ROW = """<tr><td>{badge}</td><td>{began}</td><td class="number">{age}</td>\
<td><a href="/traces/{trace_id}">what is known so far</a></td><td class="dim">{instance}</td><td>{told}</td></tr>
"""
_NOTE = """<p class="note">A request of {badge} in this trace is still running, since {began}, as its process \
{instance} said at {told}: what has ended so far is shown.</p>
"""


def running_part(site: Site, service: str = "") -> Html:
    """Return the section, of a service or of all; nothing where none is running."""
    number, now = site.told.running.number(service), time.time_ns() // 1_000
    found = site.told.running.oldest(service)[:_MOST]
    if not found:
        return Html("")
    said = f"{count(number, 'request')}, the {len(found)} oldest of which are listed. " if number > len(found) else ""
    return render(_PART, said=said, minutes=FORGOTTEN // 60, rows=join(_row(site, one, now) for one in found))


def running_note(site: Site, trace_id: str) -> Html:
    """Return a sentence for each request of a trace that is running."""
    its = (one for one in site.told.running.oldest() if one.trace_id.zfill(32) == trace_id.zfill(32))
    return join(_note(site, one) for one in its)


def _note(site: Site, one: RunningRequest) -> Html:
    times = {"began": moment(one.began), "told": moment(one.told)}
    return render(_NOTE, badge=site.badge(one.service), instance=one.instance, **times)


def _row(site: Site, one: RunningRequest, now: int) -> Html:
    return render(
        _ROW,
        badge=site.badge(one.service),
        began=moment(one.began),
        age=duration(max(now - one.began, 0)),
        trace_id=one.trace_id,
        instance=one.instance,
        told=moment(one.told),
    )
