"""``/profiles``: where a service spends its time, over all requests, one route or one trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.lines.params import parse_time, parse_trace
from obskit.collector.pages.difference_picture import difference
from obskit.collector.pages.first_steps import no_profiles
from obskit.collector.pages.flame_picture import Shown, picture, tables
from obskit.collector.pages.frame import page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count, moment
from obskit.collector.pages.website import Site
from obskit.collector.profiles.difference import Base, parse_base
from obskit.collector.profiles.flame import Choice, Flame, added, fold
from obskit.collector.profiles.store import MOST_MERGED
from obskit.collector.profiles.sums import Summed
from obskit.collector.query import QueryError

_HERE = "/profiles"
_ORDER = ("cpu", "wall")  # the order of the types; others follow
_TIMES = {"15m": "15 minutes", "1h": "1 hour", "1d": "1 day", "7d": "1 week", "": "all that is stored"}
_GROUPS = {"": "calls alone", "http.route": "route", "thread": "thread"}
_FORM = """<h1 class="unseen">Profiles</h1>
<form action="/profiles" method="get">
<label>Service<select name="service">{services}</select></label>
<label>Type<select name="type">{types}</select></label>
<label>Route<select name="route"><option value="">all</option>{routes}</select></label>
<label>Trace<input class="narrow mono" name="trace" value="{trace}"></label>
<label>Within<select name="last">{times}</select></label>
<label>Version<input class="narrow" name="version" value="{version}" list="versions"></label>
<label>Compare with<input class="narrow" name="base" value="{base}" list="bases" placeholder="1d, version:2" \
title="an earlier time, as 1h or 1d before, or another version, as version:1.4.1"></label>
<datalist id="versions">{versions}</datalist><datalist id="bases">{bases}</datalist>
<label>By<select name="by">{groups}</select></label>
<label>Mark<input class="narrow" type="search" name="find" value="{find}" data-find spellcheck="false"></label>
<button class="primary">Show</button>
</form>
"""
_OPTION = '<option value="{value}"{selected}>{label}</option>'
_SELECTED = Html(" selected")
_NOTE = '<p class="note">{said}</p>\n'
_TABLES = '<div class="tables card">{tables}</div>\n'
_NOTHING = '<div class="card message">Nothing to compare: no sample {which}. Before is {said}.</div>'
_HEAD = Html("<h1>Profiles</h1>\n")


def show(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the flame graph that the form asks for, or what is wrong with the form."""
    given = params_of(request)
    params = {name: value for name, value in given.items() if value}
    kinds = site.profiles.kinds()
    if not kinds:
        return page("Profiles", join([_HEAD, no_profiles(request)]), here=_HERE)
    service = params.get("service") or next(iter(kinds))
    types = sorted(kinds.get(service, []), key=_rank)
    kind, unit = next((one for one in types if one[0] == params.get("type")), types[0] if types else ("", ""))
    params = {**params, "service": service, "type": kind}
    try:
        first, last = parse_time(params)
        base = parse_base(params, first, last)
        if base and base.earlier and not first:
            first = base.last
        choice = _choice(params)
    except QueryError as error:
        problem = render('<div class="card message problem">{problem}</div>', problem=error)
        return page("Profiles", join([_form(kinds, params, Flame()), problem]), here=_HERE, status=400)
    found = _summed(site, params, choice, first, last)
    flame = fold(found.sums, choice)
    shown = Shown(flame, unit, params, params.get("find", "").lower())
    parts = [_form(kinds, params, flame), _said(site, shown, found)]
    if base:
        parts.append(_difference(site, shown, replace(choice, version=base.version), base))
    elif shown.total:
        parts += [picture(shown), render(_TABLES, tables=tables(shown, of_function=bool(choice.function)))]
    return page(f"Profile of {service}", join(parts), here=_HERE, modules=("flame.js",))


def _summed(site: Site, params: Mapping[str, str], choice: Choice, first: int, last: int) -> Summed:
    """Return the samples of a time."""
    of = params["service"], params["type"]
    if not choice.trace:
        return site.profiles.sums.within(*of, first, last, choice.version, plain=choice.is_plain)
    numbers = site.profiles.numbers(*of, first, last, choice.trace)
    sums = added(site.profiles.read(numbers[:MOST_MERGED]))
    return Summed(sums, min(len(numbers), MOST_MERGED), len(numbers))


def _of_how_many(found: Summed) -> str:
    newest = f", the newest of {found.found:,}" if found.used < found.found else ""
    return count(found.used, "profile") + newest


def _difference(site: Site, shown: Shown, choice: Choice, base: Base) -> Html:
    found = _summed(site, shown.params, choice, base.first, base.last)
    before = fold(found.sums, choice)
    if not before.root.value or not shown.total:
        which = "now" if before.root.value else "before"
        return render(_NOTHING, which=which, said=base.said)
    said = f"Before: {shown.amount(before.root.value)} in {_of_how_many(found)} {base.said}. "
    said += "Shares of either's total are compared; a width is the mean of both."
    query = urlencode({name: value for name, value in shown.params.items() if name != "base"})
    note = render('<p class="note">{said} <a href="?{query}">without comparison</a></p>\n', said=said, query=query)
    return join([note, difference(before, shown)])


def _rank(kind: tuple[str, str]) -> tuple[int, str]:
    return (_ORDER.index(kind[0]) if kind[0] in _ORDER else len(_ORDER), kind[0])


def _choice(params: Mapping[str, str]) -> Choice:
    group = params.get("by", "")
    if group not in _GROUPS:
        raise QueryError(f"by is {group[:40]!r}; give one of {', '.join(filter(None, _GROUPS))}")
    trace = parse_trace(params.get("trace", ""))
    return Choice(params.get("route", ""), trace, params.get("frame", ""), group, params.get("version", ""))


def _form(kinds: Mapping[str, list[tuple[str, str]]], params: Mapping[str, str], flame: Flame) -> Html:
    versions = sorted(filter(None, flame.versions))
    types = [kind for kind, _ in sorted(kinds.get(params["service"], []), key=_rank)]
    return render(
        _FORM,
        services=_options({name: name for name in kinds}, params["service"]),
        types=_options({name: name for name in types}, params["type"]),
        routes=_options({name: name for name in sorted(filter(None, flame.routes))}, params.get("route", "")),
        trace=params.get("trace", ""),
        times=_options(_TIMES, params.get("last", "")),
        version=params.get("version", ""),
        base=params.get("base", ""),
        versions=_options({name: name for name in versions}, ""),
        bases=_options({name: name for name in ("1h", "1d", "7d", *(f"version:{v}" for v in versions))}, ""),
        groups=_options(_GROUPS, params.get("by", "")),
        find=params.get("find", ""),
    )


def _options(labels: Mapping[str, str], chosen: str) -> Html:
    shown = {**labels, chosen: labels.get(chosen, chosen)} if chosen else labels
    return join(
        render(_OPTION, value=value, label=label, selected=_SELECTED if value == chosen else Html(""))
        for value, label in shown.items()
    )


def _said(site: Site, shown: Shown, found: Summed) -> Html:
    """Return a description of what was added up, and what was left out."""
    params, flame = shown.params, shown.flame
    _, first, last = site.profiles.extent(params["service"], params["type"])
    text = f"{shown.amount(shown.total)} in {_of_how_many(found)}"
    parts = [render("{text}; profiles of {service} are stored from ", text=text, service=params["service"])]
    parts.append(join([moment(first), Html(" to "), moment(last), Html(".")]))
    if params.get("frame"):
        parts.append(_below(shown))
    if flame.cut:
        parts.append(render(" {n} of the smallest calls are left out.", n=f"{flame.cut:,}"))
    if shown.find:
        parts.append(_marked(shown))
    return render(_NOTE, said=join(parts))


def _below(shown: Shown) -> Html:
    text = ' Below {function} alone; <a href="?{query}">show everything</a>.'
    query = urlencode({name: value for name, value in shown.params.items() if name != "frame"})
    return render(text, function=shown.params["frame"], query=query)


def _marked(shown: Shown) -> Html:
    own = sum(value for frame, value in shown.flame.own.items() if shown.marks(frame[:2]))
    functions = sum(1 for place in shown.flame.total if shown.marks(place))
    text = " {functions} marked; they themselves take {own}, {share}."
    return render(text, functions=count(functions, "function"), own=shown.amount(own), share=shown.share(own))
