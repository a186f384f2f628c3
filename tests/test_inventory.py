"""What is instrumented, what is not and why: in ``obskit.stats()`` and in one line of the log."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import flask
import pytest

import obskit
from tests.export.conftest import fresh  # noqa: F401 - a fixture
from tests.installed import need

ROOT = Path(__file__).parents[1]
PRINT = "\nimport json; print(json.dumps(obskit.stats()['integrations']))"
INIT = "import obskit; obskit.init(exporter='none', logs='off')\n"


def run(program: str, site: Path | None = None, **environment: str) -> tuple[dict[str, dict[str, str]], str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OBSKIT_", "OTEL_"))}
    path = os.pathsep.join(map(str, filter(None, [site, ROOT])))
    done = subprocess.run(
        [sys.executable, "-c", program + PRINT],
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def installed(folder: Path, **versions: str) -> Path:
    """Lay down what pip leaves of packages, without the packages."""
    for name, number in versions.items():
        (metadata := folder / f"{name}-{number}.dist-info").mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return folder


def test_what_is_instrumented_is_told_with_its_version_as_it_is_imported():
    found, _ = run(INIT + "import http.client, flask, requests")
    assert (
        found["instrumented"].items()
        >= {
            "flask": version("flask"),
            "http_client": platform.python_version(),
            "requests": version("requests"),
        }.items()
    )
    assert "django" not in found["instrumented"]
    assert (found["left_alone"], found["unpatched"]) == ({}, [])


def test_what_is_installed_and_not_covered_is_told_with_what_to_install(tmp_path):
    packages = {"aiokafka": "0.12", "psycopg2_binary": "2.9", "pika": "1.3", "opentelemetry_instrumentation_pika": "1"}
    found, _ = run(INIT, installed(tmp_path, **packages))
    assert found["not_covered"]["aiokafka"] == "pip install opentelemetry-instrumentation-aiokafka"
    assert found["not_covered"]["psycopg2-binary"] == "pip install opentelemetry-instrumentation-psycopg2"
    assert not found["not_covered"].keys() & {"flask", "pika", "aiohttp"}


def test_a_version_that_an_integration_does_not_fit_is_left_alone_wholly_and_told_once(tmp_path):
    (tmp_path / "bottle.py").write_text("class Bottle:\n def __call__(self): return 'unpatched'\n")
    found, log = run(
        "import logging; logging.basicConfig()\n" + INIT + "import bottle; assert bottle.Bottle()() == 'unpatched'\n"
        "assert not hasattr(bottle.Bottle.__call__, '__wrapped__')",
        installed(tmp_path, bottle="0.1"),
    )
    assert "bottle" in found["left_alone"]
    assert "bottle" not in found["instrumented"]
    assert log.count("instrumenting bottle failed inside obskit; the application is not affected") == 1


def test_what_an_instrumentation_of_opentelemetrys_does_not_know_is_left_alone(tmp_path):
    need("opentelemetry.instrumentation.redis")
    (tmp_path / "redis.py").write_text("Redis = object\n")
    found, log = run(
        "import logging; logging.basicConfig()\n" + INIT + "import redis", installed(tmp_path, redis="1.0")
    )
    assert "redis" in found["left_alone"]
    assert log.count("WARNING") == log.count("OpenTelemetry's instrumentation 'redis'") == 1


def test_references_taken_before_patching_are_told_with_module_and_name(tmp_path):
    need("opentelemetry.instrumentation.sqlite3")
    (tmp_path / "shop.py").write_text(
        "from sqlite3 import connect\nfrom http.client import HTTPConnection\n"
        "send = HTTPConnection.send\nclass Kept:\n    put = HTTPConnection.putrequest\n"
    )
    found, _ = run("import shop\n" + INIT, tmp_path)
    assert found["unpatched"] == [
        "shop.Kept.put (http.client.HTTPConnection.putrequest)",
        "shop.connect (sqlite3.connect)",
        "shop.send (http.client.HTTPConnection.send)",
    ]


def test_a_class_taken_before_patching_is_told_too(tmp_path):
    need("pycurl")
    (tmp_path / "shop.py").write_text("from pycurl import Curl\n")
    found, _ = run("import shop\n" + INIT, tmp_path)
    assert found["unpatched"] == ["shop.Curl (pycurl.Curl)"]


def test_a_server_of_grpc_aio_made_before_is_told_and_none_made_later(tmp_path):
    program = "import asyncio, grpc.aio\nasync def make():\n    return grpc.aio.server()\n"
    later = "kept = asyncio.run(make())"
    assert run(program + INIT + later, tmp_path)[0]["unpatched"] == []
    found, _ = run(program + later + "\n" + INIT, tmp_path)
    assert found["unpatched"] == ["a grpc.aio server that was made before obskit.init()"]


def test_nothing_is_told_of_references_that_were_taken_later(tmp_path):
    (tmp_path / "shop.py").write_text("from sqlite3 import connect\nfrom http.client import HTTPConnection\n")
    found, _ = run(INIT + "import shop", tmp_path)
    assert found["unpatched"] == []


def test_a_line_of_level_debug_says_it_all_at_the_start(tmp_path):
    (tmp_path / "shop.py").write_text("from http.client import HTTPConnection\nsend = HTTPConnection.send\n")
    program = "import logging; logging.basicConfig(level='DEBUG')\nimport shop, flask\n" + INIT
    _, log = run(program, installed(tmp_path, aiokafka="0.12"))
    (line,) = (line for line in log.splitlines() if line.startswith("DEBUG:obskit:"))
    assert re.match(rf"DEBUG:obskit:instrumented so far: flask {version('flask')}, http_client [\d.]+", line)
    assert "; aiokafka is not covered: pip install opentelemetry-instrumentation-aiokafka" in line
    assert "; shop.send (http.client.HTTPConnection.send) was taken before it was patched" in line


@pytest.mark.usefixtures("fresh")
def test_after_unpatching_nothing_is_instrumented(caplog):
    caplog.set_level(logging.INFO)
    obskit.init(exporter="none", integrations=["flask"], logs="off")
    assert obskit.stats()["integrations"]["instrumented"] == {"flask": version("flask")}
    assert hasattr(flask.Flask.__call__, "__wrapped__")
    obskit.shutdown(unpatch=True)
    assert obskit.stats()["integrations"]["instrumented"] == {}
    assert caplog.records == []
