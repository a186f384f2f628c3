"""Log lines as expandable rows, on ``/logs`` and below a trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from obskit.collector.lines.line import Line
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import moment
from obskit.collector.pages.website import Site

_MOST_CHARACTERS = 32_768  # characters of a message on a page; the JSON has all of it
_SUMMARY = 300
_NEW_LINE = "\n"
_ROW = """<details class="entry {level}{marks}" id="line-{id}"{opened}><summary>{time}<span class="level">{name}</span>\
{badge}<span class="text">{summary}</span></summary>
<div class="whole"><pre>{message}</pre>{cut}
<p class="links">{links}</p>
<table><tbody>{rows}</tbody></table></div></details>
"""
_FACT = '<tr><th scope="row">{name}</th><td>{value}</td></tr>'
_LINK = '<a href="{url}">{text}</a>'
_CUT = '<p class="note">The first {shown} of {all} characters. {link}</p>'
_is_word = re.compile(r"[^\s\"-][^\s\"]*").fullmatch


def rows(site: Site, lines: Iterable[Line], chosen: int = 0) -> Html:
    """Return a row for each line, the ``chosen`` one expanded."""
    return join(_row(site, line, " chosen" if line.id == chosen else "") for line in lines)


def level(line: Line) -> str:
    """Return the CSS class of a severity; there are three colours."""
    return "bad" if line.severity >= 500 else "warned" if line.severity >= 400 else "quiet"


def summary(message: str) -> str:
    """Return the first line of a message; of a traceback also the last, which names the exception."""
    first, _, rest = message.partition("\n")
    end = f" … {rest.rpartition(_NEW_LINE)[2][:_SUMMARY]}" if "Traceback (" in message else " …"
    return first[:_SUMMARY] + (end if rest or len(first) > _SUMMARY else "")


def _row(site: Site, line: Line, marks: str) -> Html:
    cut = len(line.message) > _MOST_CHARACTERS
    return render(
        _ROW,
        id=line.id,
        level=level(line),
        marks=marks,
        opened=Html(" open") if marks else "",
        time=moment(line.time),
        name=line.level.lower(),
        badge=site.badge(line.service),
        summary=summary(line.message) or "(no message)",
        message=line.message[:_MOST_CHARACTERS],
        cut=_cut(line) if cut else "",
        links=join(_links(line)),
        rows=join(render(_FACT, name=name, value=value) for name, value in _facts(line)),
    )


def _cut(line: Line) -> Html:
    link = _link(f"/api/obskit/v1/lines?line={line.id}", "all of it, as JSON")
    return render(_CUT, shown=f"{_MOST_CHARACTERS:,}", all=f"{len(line.message):,}", link=link)


def _links(line: Line) -> Iterable[Html]:
    yield _link(f"/logs?line={line.id}#line-{line.id}", "lines around")
    if line.trace:
        span = f"?span={line.span}" if line.span else ""
        yield _link(f"/traces/{line.trace}{span}", "its trace")
        yield _link(f"/logs?trace={line.trace}", "all lines of the trace")


def _facts(line: Line) -> Iterable[tuple[str, Html]]:
    """Return the other fields. Those that can be searched link to the lines that share them."""
    for name in ("service", "instance", "logger", "trace"):
        if value := getattr(line, name):
            yield name, _filter({name: value}, value)
    if line.source:
        yield "source", render("{text}", text=line.source)
    for name, value in line.flat_fields():
        shown = value[:_MOST_CHARACTERS]
        yield name, _filter({"q": f"{name}={value}"}, shown) if _is_word(f"{name}={value}") else render("{t}", t=shown)


def _filter(params: Mapping[str, str], text: str) -> Html:
    return _link(f"/logs?{urlencode(params)}", text)


def _link(url: str, text: str) -> Html:
    return render(_LINK, url=url, text=text)
