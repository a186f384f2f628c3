"""What obskit sends is its own business: tests that mock, record or forbid connections neither see nor answer it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from contextlib import contextmanager

import pytest

from obskit.testing.client_cases.tls import certificate_file
from tests.export.receiver import receiver
from tests.installed import need

PROGRAM = """
import contextlib, http.client, os, socket, ssl, sys, urllib.request
from unittest import mock
%(before)s
import obskit
obskit.init(service="t", exporter=sys.argv[1], logs="off", flush_interval=60)
%(after)s
seen = []
with %(mocked)s:
    with obskit.span("work"):
        pass
    delivered = obskit.flush(20)
found = obskit.stats()["exporters"][0]
assert (delivered, found["delivered"], found["dropped"]) == (True, 1, {}), found
assert not %(calls)s, %(calls)s
"""

MOCKED = [
    "mock.patch.object(http.client.HTTPConnection, 'putheader')",
    "mock.patch('http.client.HTTPConnection')",
    "mock.patch('http.client.HTTPResponse')",
    "mock.patch.object(socket.socket, 'close')",
    "mock.patch('socket.socket')",
    "mock.patch('socket.getaddrinfo')",
    "mock.patch('socket.create_connection')",
    "mock.patch.object(ssl.SSLContext, 'wrap_socket')",
    "mock.patch('urllib.request.urlopen')",
]
ENTERED = f"    mocks = [stack.enter_context(one) for one in ({', '.join(MOCKED)})]\n"
WATCHED = PROGRAM.replace("    with obskit", ENTERED + "    with obskit", 1)
WAYS = {
    "vcrpy": (
        "import vcr",
        "vcr.use_cassette(os.devnull, record_mode='none', serializer='json') as tape",
        "len(tape)",
    ),
    "pook": ("import pook", "pook.use() as engine", "engine.unmatched_requests()"),
    "responses": ("import responses", "responses.RequestsMock() as m", "len(m.calls)"),
    "httpretty": ("import httpretty", "httpretty.enabled(allow_net_connect=False)", "httpretty.latest_requests()"),
    "pytest-socket": ("import pytest_socket; pytest_socket.disable_socket()", "contextlib.nullcontext()", "seen"),
    "pytest-socket's hosts": (
        "import pytest_socket; pytest_socket.socket_allow_hosts(['10.0.0.1'])",
        "contextlib.nullcontext()",
        "seen",
    ),
}
AMID_GREENLETS = PROGRAM.replace(
    "delivered = obskit.flush(20)",
    "spawn(lambda: [seen.append(sleep(0.001)) for _ in range(5)]); delivered = obskit.flush(20); sleep(0.5)",
)
PACKAGES = {"vcrpy": "vcr", "pytest-socket": "pytest_socket", "pytest-socket's hosts": "pytest_socket"}
PACKAGES |= {name: name for name in ("pook", "responses", "httpretty")}


def run(code, url, **environ):
    command = [sys.executable, "-W", "ignore", "-c", code, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environ})
    assert (done.returncode, done.stderr) == (0, "")


@contextmanager
def tls_receiver():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file())
    with receiver(tls=context) as server:
        yield server


@pytest.mark.parametrize("serve", [receiver, tls_receiver])
def test_mocks_of_the_standard_library_neither_see_nor_answer_it(serve):
    calls = "[one.mock_calls for one in mocks if one.mock_calls]"
    code = WATCHED % {"before": "", "after": "", "mocked": "contextlib.ExitStack() as stack", "calls": calls}
    with serve() as server:
        run(code, address(server, serve), SSL_CERT_FILE=certificate_file())
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("name", "first"), [*((name, "obskit") for name in WAYS), ("httpretty", ""), ("pytest-socket", ""), ("pook", "")]
)
def test_recorders_and_interceptors_neither_see_nor_answer_it(name, first):
    need(PACKAGES[name])
    setting_up, mocked, calls = WAYS[name]
    before, after = ("", setting_up) if first == "obskit" else (setting_up, "")
    with receiver() as server:
        run(PROGRAM % {"before": before, "after": after, "mocked": mocked, "calls": calls}, server.url)
        assert len(server.bodies) == 1


def address(server, serve):
    return server.url if serve is receiver else f"https://localhost:{server.port}/api/v2/spans"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize(
    ("first", "serve"), [("obskit", tls_receiver), ("the other", tls_receiver), ("obskit", receiver)]
)
def test_patched_sockets_are_not_waited_for(library, first, serve):
    """The loop of greenlets goes on while a span is delivered, whichever comes first."""
    need(library)
    patch = {
        "gevent": "from gevent import monkey, sleep, spawn; monkey.patch_all()",
        "eventlet": "import eventlet; eventlet.monkey_patch(); sleep, spawn = eventlet.sleep, eventlet.spawn",
    }[library]
    before, after = ("", patch) if first == "obskit" else (patch, "")
    options = {"before": before, "after": after, "mocked": "contextlib.nullcontext()", "calls": "not seen"}
    with serve() as server:
        run(AMID_GREENLETS % options, address(server, serve), SSL_CERT_FILE=certificate_file())
        assert len(server.bodies) == 1
