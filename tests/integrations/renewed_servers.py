"""Servers whose workers are started anew while requests come."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.export.receiver import clean_environ, eventually, free_port, receiver

INIT = """
import os, obskit
obskit.init(exporter=os.environ["RECEIVER"])
VERSION = 1
def answer(number): return f"{VERSION} {os.getpid()} {obskit.current_span().span_id}"
"""
FLASK = """
from flask import Flask
app = Flask("app")
app.get("/items/<int:number>")(answer)
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
app = Starlette(routes=[Route("/items/{number}", lambda request: PlainTextResponse(answer(7)))])
"""
DJANGO = """
SECRET_KEY, ROOT_URLCONF, ALLOWED_HOSTS, DEBUG = "x", "app", ["*"], True
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("items/<int:number>", lambda request, number: HttpResponse(answer(number)))]
"""
Renew = Callable[[Path, int], None]
"""Has a server, of which the application's folder and the pid are given, replace its workers."""


def rewrite(folder: Path, _server: int) -> None:
    """Change the application's file."""
    file = folder / "app.py"
    file.write_text(file.read_text().replace("VERSION = 1", "VERSION = 2"))


def hang_up(folder: Path, server: int) -> None:
    """Change the application's file, and send SIGHUP."""
    rewrite(folder, server)
    os.kill(server, signal.SIGHUP)


def nothing(_folder: Path, _server: int) -> None:
    """Leave it to the server, which replaces a worker that has served enough."""


def check_renewal(program: str, command: str, renew: Renew, folder: Path, killed: bool = False) -> str:
    """Let two workers answer, one after the other: all that they served is delivered as they end, and only once.

    Where the server kills its last worker with SIGKILL, it is delivered before.
    """
    (folder / "app.py").write_text(INIT + program)
    port = free_port()
    answers: list[list[str]] = []

    def answered_by_two() -> bool:
        time.sleep(0.02)  # a reloader looks once a second
        with suppress(OSError, http.client.HTTPException):  # no worker listens yet, or one has just left
            answer = _get(port).split()
            answers.extend([answer] if len(answer) == 3 else [])
        return len({worker for _, worker, _ in answers}) >= 2

    def renewed() -> bool:
        """A reloader that first looks at the file after it was changed needs another change."""
        renew(folder, server.pid)
        with suppress(AssertionError):
            eventually(answered_by_two, 10)
        return answered_by_two()

    def arrived() -> bool:
        return {span["id"] for span in received.spans} >= {span for _, _, span in answers}

    with receiver() as received, (folder / "out").open("w") as out:
        environ = {"RECEIVER": received.url, "PYTHONDONTWRITEBYTECODE": "1", "DJANGO_SETTINGS_MODULE": "app"}
        environ["OBSKIT_FLUSH_INTERVAL"] = "0.01" if killed else "3600"
        arguments = [sys.executable, "-m", *command.format(port=port).split()]
        with subprocess.Popen(
            arguments, cwd=folder, env=clean_environ(**environ), stdout=out, stderr=out, start_new_session=True
        ) as server:
            try:
                eventually(lambda: answered_by_two() or answers, 60)
                eventually(renewed, 60)
                eventually(lambda: not killed or arrived())
            finally:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait(20)
        eventually(arrived)
        spans = [span["id"] for span in received.spans]
    assert len(spans) == len({*spans}), "a span was sent twice"
    assert {version for version, _, _ in answers} == ({"1"} if renew is nothing else {"1", "2"})
    return f"{len(spans)}/{len(answers)} of {command.partition(' ')[0]}"


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/items/7")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
