"""A WSGI application that a server loads before it forks."""

import os

from side import span

with span("before the fork"):
    pass


def application(environ, start_response):
    with span("request"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
