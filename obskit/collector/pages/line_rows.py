"""Log lines as expandable rows, on ``/logs`` and below a trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from obskit.collector.lines.line import Line
from obskit.collector.lines.tracebacks import Piece, exception_of, pieces
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import moment
from obskit.collector.pages.website import Site

_MOST_CHARACTERS = 32_768  # characters of a message on a page; the JSON has all of it
_SUMMARY = 300
_ROW = """<details class="entry {level}{marks}" id="line-{id}"{opened}><summary>{time}<span class="level">{name}</span>\
{badge}<span class="text">{text}</span>{exception}</summary>
<div class="whole">{message}{cut}
<p class="links">{links}</p>
<table><tbody>{rows}</tbody></table></div></details>
"""
_EXCEPTION = '<span class="exception">{exception}</span>'
_TRACEBACK = '<details class="traceback"{opened}><summary>{exception}</summary><pre>{text}</pre></details>'
_OPEN = Html(" open")
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
    """Return the first line of a message; of one with a traceback also that of its exception."""
    return " ".join(filter(None, _heading(message)))


def _heading(message: str) -> tuple[str, str]:
    """Return the first line of a message, and that of its exception, if that is another."""
    first, _, rest = message.partition("\n")
    exception = exception_of(message)[:_SUMMARY]
    if exception and "Traceback (" in first:
        return exception, ""
    is_cut = len(first) > _SUMMARY or (rest and not exception)
    return first[:_SUMMARY] + (" …" if is_cut else ""), exception


def _row(site: Site, line: Line, marks: str) -> Html:
    cut = len(line.message) > _MOST_CHARACTERS
    text, exception = _heading(line.message)
    return render(
        _ROW,
        id=line.id,
        level=level(line),
        marks=marks,
        opened=_OPEN if marks else "",
        time=moment(line.time),
        name=line.level.lower(),
        badge=site.badge(line.service),
        text=text or "(no message)",
        exception=render(_EXCEPTION, exception=exception) if exception else "",
        message=_message(line.message[:_MOST_CHARACTERS]),
        cut=_cut(line) if cut else "",
        links=join(_links(line)),
        rows=join(render(_FACT, name=name, value=value) for name, value in _facts(line)),
    )


def _message(message: str) -> Html:
    """Return all of a message, with its tracebacks folded but for the last one: the others are what led to it."""
    found = pieces(message)
    return join(_piece(piece, is_last=piece is found[-1]) for piece in found)


def _piece(piece: Piece, *, is_last: bool) -> Html:
    text = piece.text.strip("\n")
    if not piece.exception:
        return render("<pre>{text}</pre>", text=text)
    return render(_TRACEBACK, opened=_OPEN if is_last else "", exception=piece.exception[:_SUMMARY], text=text)


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
