"""Whole programs whose spans go to Cloud Trace."""

from __future__ import annotations

import os
import subprocess

from tests.export import receiver

PROGRAM = """
import obskit
obskit.init(service="orders", exporter="cloudtrace://", PROJECT integrations=[])
with obskit.span("outer", **{"http.method": "GET"}):
    try:
        with obskit.span("inner"):
            raise ValueError("no such order")
    except ValueError:
        pass
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run it with the endpoint that the fixture set, and time to import google-auth on a machine that is busy."""
    variable = "OBSKIT_CLOUDTRACE_ENDPOINT"
    return receiver.run(code, OBSKIT_EXIT_TIMEOUT="40", OBSKIT_EXPORT_TIMEOUT="40", **{variable: os.environ[variable]})


def program(project: str = "") -> str:
    return PROGRAM.replace("PROJECT", project)


def test_a_program_that_ends_at_once_has_its_spans_at_cloud_trace_with_its_key_files_account(guarded):
    done = run(program())
    assert (done.returncode, done.stderr) == (0, "")
    spans = {span["displayName"]["value"]: span for span in guarded.spans}
    assert set(spans) == {"outer", "inner"}
    assert spans["inner"]["parentSpanId"] == spans["outer"]["spanId"]
    assert spans["inner"]["status"]["code"] == 2
    assert "no such order" in spans["inner"]["status"]["message"]
    attributes = spans["outer"]["attributes"]["attributeMap"]
    assert attributes["/component"]["stringValue"]["value"] == "orders"
    assert attributes["/http/method"]["stringValue"]["value"] == "GET"
    assert guarded.projects == ["the-accounts-project"]
    assert guarded.headers[0]["authorization"] == "Bearer token-1"


def test_the_project_option_is_the_default(cloud):
    assert run(program('project="mine",')).returncode == 0
    assert cloud.projects == ["mine"]


def test_without_google_auth_the_start_says_what_to_install():
    done = receiver.run("import sys; sys.modules['google.auth'] = None\n" + program('project="mine",'))
    assert done.returncode == 1
    assert "ConfigurationError: exporter='cloudtrace://'" in done.stderr.splitlines()[-1]
    assert "pip install 'obskit[gcp]'" in done.stderr.splitlines()[-1]


def test_init_imports_nothing_of_googles_for_it(cloud):
    code = "import sys, obskit; obskit.init(exporter='cloudtrace://p'); print('google.auth' in sys.modules)"
    assert run(code).stdout == "False\n"


def test_an_endpoint_that_is_none_is_a_bad_option():
    done = receiver.run("import obskit; obskit.init(exporter='cloudtrace://p')", OBSKIT_CLOUDTRACE_ENDPOINT="nowhere")
    assert done.returncode == 1
    assert "OBSKIT_CLOUDTRACE_ENDPOINT='nowhere' must be" in done.stderr


def test_a_forked_child_sends_its_own_spans_over_a_connection_of_its_own(guarded):
    code = (
        program()
        + """
import os
obskit.flush(40)
child = os.fork()
with obskit.span("child" if child == 0 else "parent"):
    pass
if child == 0:
    raise SystemExit(0 if obskit.flush(40) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    )
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(guarded.names) == ["child", "inner", "outer", "parent"]
