"""The trace of a line is linked to its Google Cloud project as soon as this is known, and lines say where they ran."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from .test_setup import run

CODE = """
import json, logging, os, sys, time, obskit
obskit.init(logs="json", environment="prod", version="1.4")
def trace():
    with obskit.span("request"):
        logging.getLogger("app").info("served")
    sys.stdout.flush()
"""
WAIT = """
from obskit.logs.formatter import shared_builder
end = time.monotonic() + 20
while not shared_builder().trace_prefix and time.monotonic() < end: time.sleep(0.01)
"""


@pytest.fixture
def metadata():
    """Give the address of a metadata server that knows the project."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = b"orders-prod" if self.path.endswith("project/project-id") else b""
            self.send_response(200)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def last(code, **environ):
    done = run(code, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [entry for entry in found if entry["message"] == "served"][-1]


@pytest.mark.parametrize(
    "where", ["trace()", "pid = os.fork()\nif pid: os.waitpid(pid, 0)\nelse: trace(); os._exit(0)"]
)
def test_the_metadata_server_tells_the_project(metadata, where):
    entry = last(CODE + WAIT + where, K_SERVICE="orders", GCE_METADATA_HOST=metadata)
    assert entry["logging.googleapis.com/trace"].startswith("projects/orders-prod/traces/")


def test_a_child_that_is_forked_at_once_asks_too(metadata):
    code = CODE + "pid = os.fork()\nif pid: os.waitpid(pid, 0); os._exit(0)\n" + WAIT + "trace()"
    entry = last(code, K_SERVICE="orders", GCE_METADATA_HOST=metadata)
    assert entry["logging.googleapis.com/trace"].startswith("projects/orders-prod/traces/")


def test_a_key_file_names_its_project(tmp_path):
    (tmp_path / "key.json").write_text('{"type": "service_account", "project_id": "shop"}')
    entry = last(CODE + "trace()", GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "key.json"))
    assert entry["logging.googleapis.com/trace"].startswith("projects/shop/traces/")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"project_id": 5}'])
def test_a_key_file_that_names_none_changes_nothing(text, tmp_path):
    (tmp_path / "key.json").write_text(text)
    entry = last(CODE + "trace()", GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "key.json"))
    assert "/" not in entry["logging.googleapis.com/trace"]


def test_every_line_says_which_service_version_and_environment_it_is_of():
    entry = last(CODE + "trace()")
    assert entry["serviceContext"] == {"service": "orders", "version": "1.4"}
    assert entry["deployment.environment.name"] == "prod"
