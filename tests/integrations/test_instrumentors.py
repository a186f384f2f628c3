"""OpenTelemetry's instrumentations, as they are installed, for libraries that obskit has no integration for."""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.installed import need

ROOT = Path(__file__).parents[2]
HEAD = """
import sys, logging
logging.basicConfig(format="%(levelname)s %(message)s", level="INFO", stream=sys.stderr)
import obskit
obskit.init(**{"service": "shop", "exporter": "console", "logs": "off"} | eval(sys.argv[1]))
"""
QUERY = """
assert "opentelemetry.instrumentation.sqlite3" not in sys.modules
import sqlite3
def query():
    connection = sqlite3.connect(":memory:")
    connection.cursor().execute("SELECT 1")
    connection.close()
query()
"""
OWN = """
from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
class Instrumentor(BaseInstrumentor):
    needs = ()
    def instrumentation_dependencies(self): return self.needs
    def _instrument(self, **kwargs): print("on", kwargs, flush=True)
    def _uninstrument(self, **kwargs): print("off", flush=True)
class Failing(Instrumentor):
    _instance = None
    def _instrument(self, **kwargs): raise RuntimeError("no luck")
class Stuck(Instrumentor):
    _instance = None
    def _uninstrument(self, **kwargs): raise RuntimeError("stuck")
class Old(Instrumentor):
    _instance = None
    needs = ("pytest < 2",)
class Missing(Instrumentor):
    _instance = None
    needs = ("nothing-of-this-name",)
def __getattr__(name):
    import importlib
    importlib.import_module({"Absent": "nothing.of_this_name", "Broken": "opentelemetry.nothing"}[name])
"""


def run(
    program: str, options: str = "{}", site: Path | None = None, **environment: str
) -> tuple[list[Any], list[str], str]:
    """Run a program, and return its spans, the other lines that it printed, and its log."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OBSKIT_", "OTEL_"))}
    path = os.pathsep.join(map(str, filter(None, [site, ROOT])))
    command = [sys.executable, "-c", HEAD + program, options]
    done = subprocess.run(
        command, env={**kept, "PYTHONPATH": path, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return (
        [json.loads(line) for line in lines if line.startswith("{")],
        [line for line in lines if not line.startswith("{")],
        done.stderr,
    )


def laid(folder: Path, **classes: str) -> Path:
    """Lay down what pip leaves of instrumentations: the class for each library."""
    (metadata := folder / "instrumentations-1.dist-info").mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: instrumentations\nVersion: 1\n")
    entries = "".join(f"{name} = instrumentations:{kind}\n" for name, kind in classes.items())
    (metadata / "entry_points.txt").write_text(f"[opentelemetry_instrumentor]\n{entries}")
    (folder / "instrumentations.py").write_text(OWN)
    return folder


class _Redis(socketserver.StreamRequestHandler):
    """As much of Redis as a client asks for: any command is answered with OK, but HELLO, which is newer."""

    def handle(self) -> None:
        while head := self.rfile.readline():
            words = [self.rfile.readline() and self.rfile.readline().strip() for _ in range(int(head[1:]))]
            self.wfile.write(b"-ERR unknown command\r\n" if words[0] == b"HELLO" else b"+OK\r\n")


@contextmanager
def redis_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Redis) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_three_libraries_are_traced_as_soon_as_the_program_imports_them():
    for name in ("sqlite3", "sqlalchemy", "redis"):
        need(f"opentelemetry.instrumentation.{name}")
    with redis_server() as port:
        spans, _, log = run(
            f"""
import sqlite3, sqlalchemy, redis
with obskit.span("work"):
    sqlite3.connect(":memory:").cursor().execute("SELECT 1")
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 2"))
    redis.Redis("localhost", {port}, protocol=2).set("a", "b")
"""
        )
    work = spans.pop()
    assert {span["traceId"] for span in spans} == {work["traceId"]}
    statements = {span["tags"].get("db.statement") for span in spans}
    assert {"SELECT 1", "SELECT 2", "SET ? ?"} <= statements
    (called,) = (span for span in spans if span["tags"].get("db.system") == "redis" and span["name"] == "set")
    assert called["remoteEndpoint"] == {"serviceName": "localhost", "port": port}
    assert "WARNING" not in log


def test_an_instrumentation_is_not_imported_before_its_library():
    need("opentelemetry.instrumentation.sqlite3")
    (span,), _, _ = run(QUERY)
    assert (span["kind"], span["tags"]["db.system"]) == ("CLIENT", "sqlite")


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ("{'opentelemetry': 'off'}", {}),
        ("{}", {"OBSKIT_OPENTELEMETRY": "off"}),
        ("{'disable': ['sqlite3']}", {}),
        ("{'integrations': ['flask']}", {}),
        ("{}", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis, sqlite3"}),
        ("{}", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}),
        ("{'enabled': False}", {}),
    ],
)
def test_an_instrumentation_that_is_not_wanted_is_not_imported(options, environment):
    need("opentelemetry.instrumentation.sqlite3")
    spans, printed, _ = run(
        QUERY + "print('opentelemetry.instrumentation.sqlite3' in sys.modules)", options, **environment
    )
    assert (spans, printed) == ([], ["False"])


def test_one_can_be_wanted_by_its_name():
    need("opentelemetry.instrumentation.sqlite3")
    spans, _, _ = run(QUERY, "{'integrations': ['sqlite3']}")
    assert len(spans) == 1


def test_unpatching_takes_it_back():
    need("opentelemetry.instrumentation.sqlite3")
    spans, _, log = run(QUERY + "obskit.shutdown(unpatch=True); obskit.init(opentelemetry='off'); query()")
    assert len(spans) == 1
    assert "WARNING" not in log


def test_libraries_that_obskit_covers_are_left_to_obskit(tmp_path):
    covered = ["requests", "flask", "fastapi", "django", "httpx", "urllib", "urllib3", "grpc_client", "aiohttp-client"]
    need("opentelemetry.instrumentation")
    site = laid(tmp_path, **dict.fromkeys([*covered, "threading", "logging", "asyncio"], "Instrumentor"))
    program = """
import asyncio, logging, threading, requests, flask, urllib.request
print([name for name in sys.modules if name == "instrumentations"])
"""
    _, printed, _ = run(program, site=site)
    assert printed == ["[]"]


def test_one_without_a_library_of_its_name_is_switched_on_at_once_and_others_when_theirs_is_there(tmp_path):
    need("opentelemetry.instrumentation")
    site = laid(tmp_path, nothing_of_this_name="Instrumentor", colorsys="Stuck")
    _, printed, log = run("print('started')\nimport colorsys\nobskit.shutdown(unpatch=True)\nprint('done')", site=site)
    assert printed == ["on {}", "started", "on {}", "off", "done"]
    assert "uninstrument() of OpenTelemetry's Stuck raised; the application is not affected" in log


def test_those_that_fail_are_told_once_and_stop_nothing(tmp_path):
    need("opentelemetry.instrumentation")
    site = laid(tmp_path, colorsys="Failing", cmd="Old", bdb="NoSuchClass", sched="Instrumentor")
    _, printed, log = run("import colorsys, cmd, bdb, sched", site=site)
    assert printed == ["on {}"]
    told = re.findall(r"WARNING OpenTelemetry's instrumentation '(\w+)' .*", log)
    assert told == ["colorsys", "cmd", "bdb"]
    assert log.count("WARNING") == log.count("\nWARNING") + 1 == 3
    assert "raised; the application is not affected\nTraceback" in log
    assert "no luck" in log
    assert "WARNING OpenTelemetry's instrumentation 'cmd' leaves it alone: This instrumentation only " in log


def test_those_whose_library_is_not_installed_are_not_told_of_and_broken_ones_are(tmp_path):
    need("opentelemetry.instrumentation")
    names = {"not_there": "Absent", "nor_there": "Missing", "nowhere": "Broken", "anywhere": "Old", "bdb": "Absent"}
    _, printed, log = run(
        "import bdb; print(sorted(obskit.stats()['integrations']['left_alone']))", site=laid(tmp_path, **names)
    )
    assert printed == ["['anywhere', 'bdb', 'nowhere']"]
    told = re.findall(r"WARNING OpenTelemetry's instrumentation '(\w+)' .*", log)
    assert sorted(told) == ["anywhere", "bdb", "nowhere"]


def test_one_that_a_library_brings_without_what_it_needs_is_told_of_by_stats_only(tmp_path):
    site = laid(tmp_path, bdb="Whatever")
    (tmp_path / "instrumentations.py").write_text("import opentelemetry.instrumentation")
    program = """
sys.modules["opentelemetry.instrumentation"] = None  # as if it were not installed
import bdb
print(list(obskit.stats()["integrations"]["left_alone"].items()))
"""
    _, printed, log = run(program, site=site)
    assert printed == ["[('bdb', 'it needs pip install opentelemetry-instrumentation')]"]
    assert "WARNING" not in log


def test_what_the_program_switches_on_itself_is_switched_on_its_way(tmp_path):
    need("opentelemetry.instrumentation")
    site = laid(tmp_path, colorsys="Instrumentor", cmd="Stuck")
    program = """
import instrumentations
instrumentations.Stuck().instrument(mine=1)
import cmd, colorsys
instrumentations.Instrumentor().instrument(mine=2)
obskit.shutdown(unpatch=True)
print([one().is_instrumented_by_opentelemetry for one in (instrumentations.Instrumentor, instrumentations.Stuck)])
"""
    _, printed, log = run(program, site=site)
    assert printed == ["on {'mine': 1}", "on {}", "off", "on {'mine': 2}", "[True, True]"]
    assert "WARNING" not in log


def test_below_opentelemetry_instrument_all_is_left_to_it(tmp_path):
    need("opentelemetry.instrumentation.sqlite3")
    program = tmp_path / "program.py"
    program.write_text("import sys; sys.argv[1:] = ['{}']\n" + HEAD + QUERY.replace("assert", "0,"))
    command = [Path(sys.executable).parent / "opentelemetry-instrument", sys.executable, program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OTEL_TRACES_EXPORTER": "none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "already instrumented" not in done.stderr
