"""What a page says while nothing is stored: the line of code, or the command, that sends it something."""

from __future__ import annotations

from starlette.requests import Request

from obskit.collector.pages.markup import Html, render

_SAID = """<div class="card message"><p>{what} Send them from a Python program with one line:</p>
<pre>import obskit
obskit.init(service="shop", collector="{url}")</pre>
<p>or without changing it:</p>
<pre>OBSKIT_COLLECTOR={url} obskit run -- python app.py{also}</pre>
</div>
"""
_LINES = "\npython app.py | obskit ship --service shop --collector {url}"
_PROFILES = "\nobskit ship --profiles FOLDER --collector {url}"


def no_requests(http: Request) -> Html:
    """Return how to send spans."""
    return _said(http, "No requests are stored yet.")


def no_lines(http: Request) -> Html:
    """Return how to send log lines, also those of a program in another language."""
    return _said(http, "No log lines are stored yet.", _LINES)


def no_profiles(http: Request) -> Html:
    """Return how to send profiles, also files that are there already."""
    return _said(http, "No profiles are stored yet.", _PROFILES)


def _said(http: Request, what: str, also: str = "") -> Html:
    url = str(http.base_url).rstrip("/")
    return render(_SAID, what=what, url=url, also=also.format(url=url))
