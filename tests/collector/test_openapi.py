"""The description that the collector serves, and what it answers to requests made from it."""

import subprocess
import sys

import pytest
import starlette.applications

from obskit.collector.server import CollectorServer
from tests.installed import need

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method"
)
FLAGS = ("--phases=coverage,fuzzing", "--max-examples=3", "--workers=2", "--generation-deterministic")
DESCRIBED = ("/api/v1/", "/api/v2/", "/v1/", "/health", "/info", "/metrics", "/prometheus", "/openapi.json")


@pytest.fixture
def routes(monkeypatch):
    """Method and path of each route."""
    made = []
    build = starlette.applications.Starlette.__init__

    def keep(self, *args, **options):
        build(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(starlette.applications.Starlette, "__init__", keep)
    with CollectorServer():
        (application,) = made
    return {(route.path, method.lower()) for route in application.routes for method in route.methods - {"HEAD"}}


def test_the_interface_is_described_and_nothing_else(shared, routes):
    paths = shared.get("/openapi.json").json["paths"]
    described = {(path, method) for path, methods in paths.items() for method in methods}
    assert described <= routes
    assert {route for route in routes if route[0].startswith(DESCRIBED)} <= described


def test_what_clients_make_up_from_it_is_answered_as_it_says(tmp_path):
    """With valid values and others, at the bounds and at random; the same in each run."""
    need("schemathesis")
    with CollectorServer() as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", f"--checks={CHECKS}"]
        done = subprocess.run(
            [*command, *FLAGS, "--warnings=off", "--no-color"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
