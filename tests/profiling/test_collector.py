"""Profiles to a real collector: by ``obskit.init(collector=...)`` and from a folder; and on a trace's page."""

from __future__ import annotations

import subprocess
import sys

import pytest

from obskit.collector.server import CollectorServer
from tests.collector.conftest import client_of
from tests.export.receiver import clean_environ

PROGRAM = """
import sys, time
import obskit
obskit.init(service="shop", logs="off", profiler_duration=0.5, profiler_interval=0.5, **eval(sys.argv[1]))
from obskit.testing.servers import wsgi_server
import http.client
def application(environ, start_response):
    end = time.monotonic() + 0.8
    while time.monotonic() < end: sum(range(1000))
    start_response("200 OK", [])
    return [b"done"]
from obskit.instrumentation.wsgi import serve
with wsgi_server(lambda environ, start: serve(application, environ, start)) as url:
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    connection.request("GET", "/orders")
    assert connection.getresponse().read() == b"done"
    connection.close()
time.sleep(0.6)
print(obskit.stats()["profiler"])
obskit.shutdown()

"""


@pytest.fixture
def collector():
    with CollectorServer() as server:
        yield server


def run(**options):
    command = [sys.executable, "-c", PROGRAM, repr(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environ())
    assert done.returncode == 0, done.stderr
    return done


def test_the_profile_of_a_request_is_below_its_trace(collector):
    run(collector=collector.url, version="1.4 {b}")
    client = client_of(collector)
    (trace,) = client.get("/api/v2/traces").json
    page = client.get(f"/traces/{trace[0]['traceId']}")
    assert "in the samples of this request" in page.text
    assert "application" in page.text.partition("Hottest lines")[2]
    assert client.get(f"/profiles?service=shop&trace={trace[0]['traceId']}").text.count("application") > 1
    assert '<option value="1.4 {b}"' in client.get("/profiles?service=shop").text


def test_a_folder_has_them_too_and_can_be_sent_later(collector, tmp_path):
    run(collector="http://127.0.0.1:9", profiler_output=str(tmp_path), exporter="none")
    names = list(tmp_path.glob("*.pprof.gz"))
    assert names
    (tmp_path / "other.pprof.gz").write_bytes(b"rubbish")
    command = [sys.executable, "-m", "obskit", "ship", "--profiles", str(tmp_path), "--collector", collector.url]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environ())
        assert f"{len(names)} of {len(names) + 1} profiles sent" in done.stderr
        assert "other.pprof.gz: 400 not a pprof profile" in done.stderr
        assert done.returncode == 1
    wall = [name for name in names if "-wall-" in name.name]
    assert f"in {len(wall)} profile" in client_of(collector).get("/profiles?service=shop&type=wall").text


def test_what_the_collector_does_not_take_is_counted():
    said = run(collector="http://127.0.0.1:9", exporter="none").stdout
    assert "'profiles': 0" in said
    assert "'lost': 0" not in said
