"""One example service as a process of the demo: ``python -m obskit.cli.demo_child MODULE wsgi|asgi|tcp SOCKET``.

It serves on an inherited listening socket, and exits when its standard input is closed: the demo holds the other end,
which the system closes however the demo ends.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from importlib import import_module
from typing import Any


def _main(module: str, kind: str, descriptor: str) -> None:
    threading.Thread(target=_end_with_the_demo, daemon=True).start()
    app = import_module(module).app
    serve = {"wsgi": _serve_wsgi, "asgi": _serve_asgi, "tcp": _serve_tcp}[kind]
    serve(app, socket.socket(fileno=int(descriptor)))


def _end_with_the_demo() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def _serve_wsgi(app: Any, listener: socket.socket) -> None:
    from werkzeug.serving import make_server

    host, port = listener.getsockname()
    make_server(host, port, app, threaded=True, fd=listener.fileno()).serve_forever()


def _serve_asgi(app: Any, listener: socket.socket) -> None:
    import uvicorn

    uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])


def _serve_tcp(app: Any, listener: socket.socket) -> None:
    from socketserver import ThreadingTCPServer

    server = ThreadingTCPServer(listener.getsockname(), app, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
