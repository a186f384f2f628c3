"""A server to be stopped in mid-air: ``response_server.py wsgiref|gunicorn|uvicorn``; it prints its port.

RESPONSE_SERVER_PAUSE is for how many seconds no response waits after one that waited in vain.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import obskit
from obskit.instrumentation import response_flush
from obskit.integrations import asgi, wsgi

PARTS = (b"first", b"second")
SIZE = str(sum(map(len, PARTS)))
SIZED = ("/list", "/sized", "/file", "/empty")
BODILESS = ("/empty",)


def parts() -> Iterator[bytes]:
    yield from PARTS


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("no such luck")
    size = [("Content-Length", "0" if path in BODILESS else SIZE)] if path in SIZED else []
    start_response("200 OK", [("Content-Type", "text/plain"), *size])
    if path == "/file":
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
        file.write(b"".join(PARTS))
        file.seek(0)
        return environ["wsgi.file_wrapper"](file)
    return list(PARTS) if path == "/list" else iter([b""]) if path in BODILESS else parts()


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    path = scope["path"]
    if path == "/raise":
        raise ValueError("no such luck")
    size = [(b"content-length", b"0" if path in BODILESS else SIZE.encode())] if path in SIZED else []
    await send({"type": "http.response.start", "status": 200, "headers": size})
    for part in () if path in BODILESS else PARTS:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def tell(port: int) -> None:
    print(port, flush=True)


def on_wsgiref() -> None:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with make_server("127.0.0.1", 0, wsgi.ObskitMiddleware(wsgi_app), handler_class=Quiet) as server:
        tell(server.server_port)
        server.serve_forever()


def on_gunicorn() -> None:
    from gunicorn.app.base import BaseApplication

    class Gunicorn(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            self.cfg.set("bind", "127.0.0.1:0")
            self.cfg.set("loglevel", "critical")
            self.cfg.set("when_ready", lambda arbiter: tell(arbiter.LISTENERS[0].getsockname()[1]))

        def load(self) -> Any:
            return wsgi.ObskitMiddleware(wsgi_app)

    Gunicorn().run()


def on_uvicorn() -> None:
    import socket

    import uvicorn

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        tell(listener.getsockname()[1])
        config = uvicorn.Config(asgi.ObskitMiddleware(asgi_app), log_config=None, lifespan="off", ws="none")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    response_flush._PAUSE = float(os.environ.get("RESPONSE_SERVER_PAUSE", response_flush._PAUSE))
    obskit.init(service="stopped", integrations=[])
    {"wsgiref": on_wsgiref, "gunicorn": on_gunicorn, "uvicorn": on_uvicorn}[sys.argv[1]]()
