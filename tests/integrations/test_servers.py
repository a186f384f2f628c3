"""What WSGI servers do by ways of their own: WebSockets, files. Real servers, with Flask on top."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import simple_websocket

from tests.export.receiver import eventually, free_port


def test_a_websocket_that_gunicorn_serves_is_no_failure(tmp_path: Path) -> None:
    """flask-sock tells gunicorn by an exception that it has served the request."""
    (tmp_path / "app.py").write_text(SOCKETS)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--threads=2", "-b", f"127.0.0.1:{port}", "app:app"]
    with (tmp_path / "out").open("w") as out, subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out) as server:
        try:
            eventually(lambda: "Booting worker" in (tmp_path / "out").read_text())
            said = converse(port)
            eventually(lambda: "traceId" in (tmp_path / "out").read_text())
        finally:
            server.terminate()
    assert said == "hello"
    (span,) = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines() if "traceId" in line]
    assert (span["tags"]["http.status_code"], "error" in span["tags"]) == ("101", False)


SOCKETS = """
import obskit
obskit.init(exporter="console", logs="off", flush_interval=0.01)
from flask import Flask
from flask_sock import Sock
app = Flask("app")
@Sock(app).route("/echo")
def echo(socket):
    while True:
        socket.send(socket.receive())
"""


def converse(port: int) -> object:
    client = simple_websocket.Client(f"ws://127.0.0.1:{port}/echo")
    client.send("hello")
    said = client.receive(timeout=10)
    client.close()
    return said


def test_uwsgi_still_sends_files_itself(tmp_path: Path) -> None:
    """Its file wrapper is a function that gives the file back; an offload thread sends it."""
    uwsgi = Path(sys.executable).with_name("uwsgi")
    if not uwsgi.exists():
        pytest.skip("needs pyuwsgi")
    (tmp_path / "big").write_bytes(bytes(300_000))
    (tmp_path / "app.py").write_text(FILES)
    port = free_port()
    options = (
        "--master --enable-threads --lazy-apps --die-on-term --offload-threads 1 --wsgi-file app.py --callable app"
    )
    command = [str(uwsgi), "--http-socket", f"127.0.0.1:{port}", *options.split()]
    with (tmp_path / "out").open("w") as out, subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out) as server:
        try:
            eventually(lambda: "spawned uWSGI worker" in (tmp_path / "out").read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
                assert len(response.read()) == 300_000
            eventually(lambda: "http.route" in (tmp_path / "out").read_text())
            eventually(lambda: "GET / " in (tmp_path / "out").read_text())
        finally:
            server.terminate()
    assert "via offload()" in (tmp_path / "out").read_text()


FILES = """
import obskit
obskit.init(exporter="console", logs="off", flush_interval=0.01)
from flask import Flask, send_file
app = Flask("app")
app.get("/")(lambda: send_file("big"))
app.root_path = "."
"""
