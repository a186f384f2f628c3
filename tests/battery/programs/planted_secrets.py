"""Secrets wherever a program has them: each is a canary, and none may be seen again."""

import contextlib
import itertools
import logging
import os
import sqlite3
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

numbers = itertools.count(1)


def canary():
    return f"cAnArY{next(numbers):03d}zz"


os.environ["DATABASE_PASSWORD"] = canary()

import httpx  # noqa: E402 - the environment has its secret now
import requests  # noqa: E402
import urllib3  # noqa: E402
from side import flush, note, span  # noqa: E402
from wsgi_calls import ObskitMiddleware, call, request  # noqa: E402


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Set-Cookie", f"session={canary()}")
        self.send_header("X-Auth-Token", canary())
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def query():
    names = ("api_key", "access_token", "X-Amz-Signature", "sig", "code")
    return "&".join(f"{name}={canary()}" for name in names)


def headers():
    return {"Authorization": f"Bearer {canary()}", "Cookie": f"session={canary()}", "X-Api-Key": canary()}


def call_out(host):
    requests.get(f"http://user:{canary()}@{host}/requests?{query()}", headers=headers())
    httpx.get(f"http://user:{canary()}@{host}/httpx?{query()}", headers=headers())
    urllib3.PoolManager().request("GET", f"http://{host}/urllib3?{query()}", headers=headers())
    urllib.request.urlopen(urllib.request.Request(f"http://{host}/urllib?{query()}", headers=headers())).read()


def call_nobody():
    for get in (requests.get, httpx.get):
        with contextlib.suppress(requests.RequestException, httpx.HTTPError):
            get(f"http://user:{canary()}@127.0.0.1:1/refused?{query()}", headers=headers())


def texts():
    return (
        f"401 for https://user:{canary()}@db.example/x?{query()}",
        f"login failed: password={canary()}",
        f"Authorization: Bearer {canary()}",
        f"Cookie: session={canary()}; theme=dark",
        f"{{'api_key': '{canary()}'}}",
        f"postgresql://app:{canary()}@db/orders",
    )


def fail(text):
    local = {"token": canary(), "nested": [canary()]}
    raise ValueError(text, len(local)) if len(local) > 2 else ValueError(text)


def fail_in_spans():
    for text in (*texts(), f"INSERT INTO users (name, secret) VALUES ('bob', '{canary()}')"):
        with contextlib.suppress(ValueError), span("failing"):
            fail(text)


def application(environ, start_response):
    start_response("500 Oops", [("Set-Cookie", f"session={canary()}")])
    return [b""]


def serve():
    environ = request(
        "/served", {"Authorization": f"Basic {canary()}", "Cookie": f"id={canary()}", "X-Api-Key": canary()}
    )
    call(ObskitMiddleware(application), {**environ, "QUERY_STRING": query()})


def use_a_database():
    database = sqlite3.connect(":memory:")
    database.execute("create table t (a)")
    database.execute(f"insert into t values ('{canary()}')")
    with contextlib.suppress(sqlite3.Error):
        database.execute(f"insert into missing values ('{canary()}')")


def log_everything():
    log = logging.getLogger("orders")
    for text in texts():
        log.warning(text)
        log.warning("field", extra={"text": text})
        try:
            fail(text)
        except ValueError:
            log.exception("failed")
    nested = {"api-key": canary(), "list": [{"Authorization": canary()}]}
    fields = {"password": canary(), "client_secret": canary(), "X-Amz-Security-Token": canary(), "db": nested}
    log.warning("fields", extra=fields)


server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
threading.Thread(target=server.serve_forever, daemon=True).start()
call_out(f"127.0.0.1:{server.server_port}")
call_nobody()
fail_in_spans()
serve()
with span("database"):
    use_a_database()
log_everything()
note(canaries=next(numbers) - 1)
flush(10)
