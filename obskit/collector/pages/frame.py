"""What surrounds every page: navigation, the box for ids, the switches for the theme and the time zone."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import HTMLResponse, Response

from obskit.collector.pages.markup import Html, join, render

# Address, name, and the key that opens it when typed after g.
PAGES = (
    ("/", "Services", "s"),
    ("/traces", "Traces", "t"),
    ("/logs", "Logs", "l"),
    ("/graph", "Graph", "d"),
    ("/profiles", "Profiles", "p"),
    ("/incidents", "Incidents", "i"),
    ("/kubernetes", "Kubernetes", "k"),
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · obskit</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/style.css">
<script src="/static/theme.js"></script>
{modules}</head>
<body>
<a class="skip" href="#main">To the content</a>
<header class="top">
<a class="home" href="/">obskit</a>
<nav aria-label="Pages">{links}</nav>
<form class="find" action="/find" role="search"><input type="search" name="q" autocomplete="off" spellcheck="false" \
aria-label="Trace or span id" placeholder="trace or span id"></form>
<span class="switches"><button type="button" id="zone" hidden></button>\
<button type="button" id="theme" hidden></button><button type="button" id="help" hidden>?</button></span>
</header>
<main id="main" tabindex="-1">
{body}
</main>
</body>
</html>
"""
_LINK = '<a href="{url}" data-key="{key}"{current}>{name}</a>'
_MODULE = '<script type="module" src="/static/{name}"></script>\n'
_CURRENT = Html(' aria-current="page"')


def page(title: str, body: Html, *, here: str = "", modules: Iterable[str] = (), status: int = 200) -> Response:
    """Return a complete page. ``here`` is the entry of ``PAGES`` that it is, or belongs to.

    ``modules`` are the scripts in ``static`` that it uses besides the common one.
    """
    links = join(
        render(_LINK, url=url, key=key, name=name, current=_CURRENT if url == here else "") for url, name, key in PAGES
    )
    scripts = join(render(_MODULE, name=name) for name in ("common.js", *modules))
    return HTMLResponse(render(_PAGE, title=title, body=body, links=links, modules=scripts), status)


def message(title: str, text: object, status: int, *, here: str = "") -> Response:
    """Return a page with only a message, for what was not found or is not valid."""
    body = render('<h1>{title}</h1><div class="card message">{text}</div>', title=title, text=text)
    return page(title, body, here=here, status=status)
