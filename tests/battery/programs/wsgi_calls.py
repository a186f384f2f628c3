"""Calling a WSGI application, bare and traced."""

import side  # noqa: F401 - starts the library

from obskit.integrations.wsgi import ObskitMiddleware


def bare(environ, start_response):
    start_response("200 OK", [])
    return [b""]


traced = ObskitMiddleware(bare)


def request(path, headers):
    names = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    server = {"SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    return {"REQUEST_METHOD": "GET", "PATH_INFO": path, **server, **names}


def call(application, environ):
    body = application(environ, lambda *_: None)
    for _ in body:
        pass
    getattr(body, "close", int)()
