"""Starting, stopping, and what else goes wrong around the socket."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from obskit.collector.server import CollectorServer, _listen
from obskit.collector.store.database import StoreError
from tests.export.receiver import eventually

from .conftest import client_of


def test_it_runs_between_start_and_stop_and_leaves_no_thread_and_no_socket():
    before = threading.active_count()
    server = CollectorServer()
    assert not server.running
    server.start()
    assert server.running
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert client_of(server).get("/health").status == 200
    server.stop()
    server.stop()
    assert not server.running
    assert not any(thread.name == "obskit-collector" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # a worker thread may take a moment to end
    with pytest.raises(ConnectionRefusedError):
        client_of(server).get("/health")


def test_the_threads_of_its_work_end_with_it():
    with CollectorServer() as server:
        client = client_of(server)
        assert client.post([{"traceId": "1", "id": "1"}]).status == 202
        assert client.get("/api/v2/trace/1").status == 200
        assert client.post(b"main;work 1\n", path="/ingest?name=orders").status == 200
        assert {name.split("_")[0] for name in workers()} == {f"obskit-collector-{name}" for name in WORKERS}
    eventually(lambda: not workers())


WORKERS = ("reader", "writer", "beside")


def workers():
    return [thread.name for thread in threading.enumerate() if "_" in thread.name and "collector" in thread.name]


def test_a_port_in_use_is_an_error_for_the_second_alone():
    with CollectorServer() as first:
        with pytest.raises(OSError, match="in use"):
            CollectorServer(port=first.port).start()
        assert client_of(first).get("/health").status == 200


def test_a_storage_that_cannot_be_opened_frees_the_port():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    with pytest.raises(StoreError):
        CollectorServer(port=port, storage="sqlite:////nowhere/x.db").start()
    with CollectorServer(port=port) as server:
        assert client_of(server).get("/health").status == 200


def test_a_name_that_is_no_host_is_an_error():
    with pytest.raises(OSError, match="not a host name"):
        CollectorServer("a" * 100 + ".b").start()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_it_listens_on_ipv6():
    try:
        server = CollectorServer("::1").start()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server:
        assert server.url == f"http://[::1]:{server.port}"


def test_a_client_that_leaves_in_the_middle_of_a_body_harms_nobody():
    with CollectorServer() as server:
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(b"POST /api/v2/spans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[{")
        assert client_of(server).post(b"[]").status == 202


def test_without_the_extra_the_error_names_the_command_that_installs_it():
    code = """
import sys
sys.modules["uvicorn"] = None
from obskit.collector.server import CollectorServer, _listen
try:
    CollectorServer().start()
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "pip install 'obskit[collector]'" in done.stdout


def test_importing_the_server_loads_no_web_framework():
    code = """
import sys
import obskit.collector.server
heavy = {"starlette", "uvicorn", "anyio"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_answers_do_not_wait_for_acknowledgements():
    """asyncio turns Nagle's algorithm off only for a socket that names its protocol: 40 ms for each request."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
