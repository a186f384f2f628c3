"""Spans over gRPC to a real server: what it answers, and what ends, forks and faults of a program make of it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
import pytest

import obskit
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.zipkin.exporters import ZipkinGrpcExporter
from obskit.testing.client_cases.tls import certificate_file
from obskit.zipkin.model import Span
from tests.export.grpc_receiver import Answer, grpc_receiver, status
from tests.export.receiver import eventually, free_port, run

SPAN = Span(trace_id="463ac35c9f6413ad48485a3953bb6124", id="a2fb4a1d1a96d312", name="a")
CODE = grpc.StatusCode


@pytest.fixture
def exporter():
    """What makes exporters of Zipkin spans as they are, and closes them."""
    made = []

    def make(address: str, tls: bool = False) -> ZipkinGrpcExporter:
        made.append(ZipkinGrpcExporter(address, tls, lambda span: span))
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(exporter: ZipkinGrpcExporter, *spans: Span, seconds: float = 20.0) -> Outcome:
    return exporter.send([exporter.encode(span) for span in spans or [SPAN]], time.monotonic() + seconds)


def hang(over: threading.Event) -> Answer:
    """Answer when the test is over."""
    return lambda context: over.wait(30) and None


def test_a_batch_arrives_as_one_message_that_a_mesh_does_not_trace(exporter):
    with grpc_receiver() as server:
        assert send(exporter(server.address), SPAN, SPAN) is DELIVERED
        assert server.spans == [SPAN, SPAN]
        assert len(server.messages) == 1
        assert server.metadata[0]["b3"] == "0"


def test_the_exporter_sizes_what_it_encodes(exporter):
    one = exporter("127.0.0.1:1")
    assert one.size(one.encode(SPAN)) == len(one.encode(SPAN)) > 28


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        (CODE.UNAVAILABLE, True),
        (CODE.RESOURCE_EXHAUSTED, True),
        (CODE.ABORTED, True),
        (CODE.INTERNAL, True),
        (CODE.UNKNOWN, True),
        (CODE.CANCELLED, True),
        (CODE.INVALID_ARGUMENT, False),
        (CODE.UNIMPLEMENTED, False),
        (CODE.UNAUTHENTICATED, False),
        (CODE.PERMISSION_DENIED, False),
        (CODE.DATA_LOSS, False),
    ],
)
def test_a_status_says_whether_the_batch_is_sent_again(exporter, code, retry):
    with grpc_receiver(status(code)) as server:
        one = exporter(server.address)
        assert send(one) == Outcome(f"grpc_{code.name.lower()}", f"{code.name} as told", retry)
        assert send(one) is DELIVERED


def test_a_server_without_the_service_refuses_for_good(exporter):
    with grpc_receiver() as server:
        one = exporter(server.address)
        one._caller._method = "/zipkin.proto3.Elsewhere/Report"
        outcome = send(one)
        assert (outcome.reason, outcome.retry) == ("grpc_unimplemented", False)


def test_a_message_over_the_servers_limit_is_too_large_and_a_smaller_one_goes_through(exporter):
    with grpc_receiver() as server:
        one = exporter(server.address)
        outcome = send(one, Span(trace_id="1" * 16, id="2" * 16, tags={"a": "x" * 5_000_000}))
        assert (outcome.reason, outcome.retry, outcome.too_large) == ("grpc_resource_exhausted", False, True)
        assert "4194304" in outcome.detail
        assert send(one) is DELIVERED


def test_nobody_listening_is_unreachable_and_a_server_that_comes_up_is_reached_at_once(exporter):
    port = free_port()
    one = exporter(f"127.0.0.1:{port}")
    for _ in range(5):  # each failure in a row makes a gRPC channel wait longer before it connects again
        outcome = send(one)
        assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
        assert "refused" in outcome.detail
    with grpc_receiver(port=port) as server:
        assert send(one) is DELIVERED
        assert server.spans == [SPAN]


def test_a_host_that_does_not_exist_is_unreachable(exporter):
    outcome = send(exporter("does-not-exist.invalid:9411"), seconds=30)
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)


def test_a_server_that_does_not_answer_is_unreachable_when_the_time_is_up(exporter):
    over = threading.Event()
    with grpc_receiver(hang(over)) as server:
        try:
            outcome = send(exporter(server.address), seconds=0.3)
        finally:
            over.set()
        assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)


def test_a_server_that_was_started_again_is_reached(exporter):
    with grpc_receiver() as server:
        one = exporter(server.address)
        assert send(one) is DELIVERED
    with grpc_receiver(port=server.port) as again:
        assert eventually(lambda: send(one) is DELIVERED)
        assert set(again.names) == {"a"}


def test_tls_trusts_what_ssl_cert_file_names(exporter, monkeypatch):
    pem = Path(certificate_file()).read_bytes()
    secret = grpc.ssl_server_credentials([(pem, pem)])
    with grpc_receiver(credentials=secret) as server:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert send(exporter(f"localhost:{server.port}", tls=True), seconds=5).reason == UNREACHABLE
        monkeypatch.setenv("SSL_CERT_FILE", certificate_file())
        assert send(exporter(f"localhost:{server.port}", tls=True)) is DELIVERED
        assert server.spans == [SPAN]


@pytest.mark.usefixtures("fresh")
def test_a_program_reports_its_spans_and_shows_where():
    with grpc_receiver(status(CODE.UNAVAILABLE)) as server:
        obskit.init(service="Orders", exporter=f"grpc://{server.address}/", integrations=[], flush_interval=0.01)
        with obskit.span("GET /", number=7):
            pass
        eventually(lambda: obskit.stats()["exporters"][0]["delivered"] == 1)
        assert obskit.stats()["exporters"][0]["destination"] == f"grpc://{server.address}"
        first, second = server.spans
        assert first == second  # the same ids when it is sent again
        assert (first.name, first.tags, first.local_endpoint.service_name) == ("get /", {"number": "7"}, "orders")


def test_without_grpcio_the_start_says_what_to_install():
    code = "import sys; sys.modules['grpc'] = None\n" + START + "span('a')\nobskit.flush(10)\nprint(dropped())"
    done = run(code, "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'obskit[grpc]'" in done.stderr


START = """
import os, sys, time, obskit
obskit.init(service="test", exporter="grpc://" + sys.argv[1], integrations=[], flush_interval=0.01)
def span(name):
    with obskit.span(name): pass
def dropped():
    return obskit.stats()['exporters'][0]['dropped']
"""
PROGRAMS = {
    "ends at once": ("span('a')", {"a": 1}),
    "fork": (
        """
span('before'); assert obskit.flush(30)
if os.fork() == 0:
    span('child'); sys.exit()
assert os.wait()[1] == 0
span('after')
""",
        {"before": 1, "child": 1, "after": 1},
    ),
    "multiprocessing": (
        """
import multiprocessing
span('before'); assert obskit.flush(30)
process = multiprocessing.get_context('fork').Process(target=span, args=['child'])
process.start(); process.join()
assert process.exitcode == 0
""",
        {"before": 1, "child": 1},
    ),
    "child of a child": (
        """
span('before'); assert obskit.flush(30)
if os.fork() == 0:
    span('child'); assert obskit.flush(30)
    if os.fork() == 0:
        span('grandchild'); sys.exit()
    assert os.wait()[1] == 0
    span('child'); sys.exit()
assert os.wait()[1] == 0
span('after')
""",
        {"before": 1, "child": 2, "grandchild": 1, "after": 1},
    ),
    "forks amid calls": (
        """
span('before'); assert obskit.flush(30)
for _ in range(5):
    span('parent'); time.sleep(0.013)
    if os.fork() == 0:
        span('child'); sys.exit()
    span('parent')
assert [os.wait()[1] for _ in range(5)] == [0] * 5
""",
        {"before": 1, "child": 5, "parent": 10},
    ),
}


@pytest.mark.parametrize("support", ["unset", "0", "1"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_process_of_a_program_delivers_whatever_grpc_makes_of_forks(program, support):
    code, expected = PROGRAMS[program]
    environ = {} if support == "unset" else {"GRPC_ENABLE_FORK_SUPPORT": support}
    with grpc_receiver() as server:
        done = run(START + code, server.address, OBSKIT_EXIT_TIMEOUT="30", **environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert server.names == expected


def test_a_fork_cancels_a_call_that_hangs_and_its_spans_are_sent_again():
    over = threading.Event()
    code = """
from obskit.export.net import grpc_call
span('before')
while not any(caller._calling.locked() for caller in grpc_call._callers): time.sleep(0.001)
if os.fork() == 0:
    span('child'); sys.exit()
assert os.wait()[1] == 0
"""
    with grpc_receiver(hang(over)) as server:
        try:
            environ = {"OBSKIT_EXIT_TIMEOUT": "30", "OBSKIT_EXPORT_TIMEOUT": "3600"}
            done = run(START + code, server.address, **environ)
        finally:
            over.set()
        assert done.returncode == 0, done.stderr
        assert server.names["child"] == 1
        assert server.names["before"] >= 1
        assert len({span.id for span in server.spans}) == 2


def test_a_server_that_hangs_costs_the_exit_timeout_and_not_the_status():
    over = threading.Event()
    with grpc_receiver(hang(over)) as server:
        try:
            code = START + "span('a'); print('out')"
            done = run(code, server.address, OBSKIT_EXIT_TIMEOUT="0.5", OBSKIT_EXPORT_TIMEOUT="3600")
        finally:
            over.set()
        assert (done.returncode, done.stdout) == (0, "out\n")


def test_nobody_listening_costs_one_warning_and_no_waiting():
    done = run(START + "span('a'); print('out'); sys.exit(3)", f"127.0.0.1:{free_port()}", OBSKIT_EXIT_TIMEOUT="3600")
    assert (done.returncode, done.stdout) == (3, "out\n")
    (warning,) = done.stderr.splitlines()
    assert "could not be delivered" in warning
    assert "refused" in warning
