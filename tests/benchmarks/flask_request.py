"""What tracing adds to one request of a small Flask application, called as a WSGI server calls it, without sockets."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from clocks import Block, Figures, timed
from sides import BARE, OBSKIT, PEER, Delivery, start_obskit, start_peer

SAMPLED, UNSAMPLED, NO_HEADERS = "sampled", "unsampled", "no headers"
REQUESTS = 500  # about what each side sends in one message when it is busy

Environ = dict[str, Any]

PROXIED = {
    "Host": "orders.example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9",
    "Cookie": "session=6f1c2a; theme=dark",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
}
"""The headers of a browser's request that came through a proxy."""


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of requests, and checks that a span arrived for each (for none where unsampled)."""
    flush = start_obskit(f"{receiver}/{OBSKIT}")
    peer = start_peer(f"{receiver}/{PEER}")
    return served(_applications(peer), variant, receiver, flush, peer.force_flush)


def _applications(peer: Any) -> tuple[Any, Any, Any]:
    """Return three applications of the same code: nobody's, ours and the peer's.

    Each is of a class of its own: ``install`` patches a class, and what CPython learns of a class as it runs the code
    that all share, it learns anew whenever another class comes.
    """
    from flask import Flask, got_request_exception
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.flask import install

    class Bare(Flask): ...

    class Ours(Flask): ...

    class Theirs(Flask): ...

    install(SimpleNamespace(Flask=Ours, got_request_exception=got_request_exception), Patches())
    bare, ours, theirs = _application(Bare), _application(Ours), _application(Theirs)
    FlaskInstrumentor().instrument_app(theirs, tracer_provider=peer)
    return bare, ours, theirs


def _application(flask: type) -> Any:
    app = flask("bench")

    @app.get("/orders/<int:order_id>")
    def order(order_id: int) -> str:
        return f"order {order_id}"

    return app


def environ(variant: str, number: int) -> Environ:
    """Return what gunicorn passes for a request that came through a proxy."""
    values = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/orders/{number}",
        "QUERY_STRING": "expand=items",
        "RAW_URI": f"/orders/{number}?expand=items",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "gunicorn/23.0.0",
        "REMOTE_ADDR": "10.1.2.3",
        "REMOTE_PORT": "41234",
        "HTTP_HOST": "orders.example.com",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari",
        "HTTP_ACCEPT": "application/json",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
        "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.9",
        "HTTP_COOKIE": "session=6f1c2a; theme=dark",
        "HTTP_CONNECTION": "keep-alive",
        "HTTP_X_FORWARDED_FOR": "203.0.113.9",
        "HTTP_X_FORWARDED_PROTO": "https",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    return values | ({} if variant == NO_HEADERS else b3_headers("1" if variant == SAMPLED else "0"))


def b3_headers(sampled: str) -> dict[str, str]:
    """Return B3's multiple headers, as a caller with a trace of its own sends them."""
    return {
        "HTTP_X_B3_TRACEID": f"{random.getrandbits(128) | 1 << 127:032x}",
        "HTTP_X_B3_SPANID": f"{random.getrandbits(64) | 1:016x}",
        "HTTP_X_B3_PARENTSPANID": f"{random.getrandbits(64) | 1:016x}",
        "HTTP_X_B3_SAMPLED": sampled,
    }


def serve_all(app: Callable[..., Any], environs: list[Environ]) -> None:
    """Serve each request to the end of its body, as PEP 3333 asks of servers."""
    for values in environs:
        body = app(values, start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()


def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
    """Take a response's head as a server does."""
    assert status == "200 OK", status
    return _write


def _write(_data: bytes) -> None: ...


Request = Callable[[str, int], Environ]
ServeAll = Callable[[Any, list[Environ]], None]


def served(
    applications: tuple[Any, Any, Any],
    variant: str,
    receiver: str,
    flush: Callable[[], object],
    flush_peer: Callable[[], object],
    request: Request = environ,
    serve: ServeAll = serve_all,
    peer_spans: int = 1,
) -> dict[str, Block]:
    """Return what serves a block of requests with each of three applications, nobody's, ours and the peer's."""

    def block(app: Any, side: str, settle: Callable[[], object], expected: int) -> Block:
        delivery = Delivery(side, receiver)

        def run() -> Figures:
            requests = [request(variant, number) for number in range(REQUESTS)]
            delivery.settle()
            figures = timed(REQUESTS, lambda: serve(app, requests), settle)
            delivery.check(expected)
            return figures

        return run

    bare, ours, theirs = applications
    expected = 0 if variant == UNSAMPLED else REQUESTS
    return {
        BARE: block(bare, BARE, lambda: True, 0),
        OBSKIT: block(ours, OBSKIT, flush, expected),
        PEER: block(theirs, PEER, flush_peer, expected * peer_spans),
    }
