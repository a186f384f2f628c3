"""Posting over real sockets: what servers do, and what it means for the spans."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from email.utils import formatdate

import pytest

from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE
from obskit.export.net.http_sender import HttpSender
from tests.export.receiver import Receiver, eventually, free_port, raw, receiver, reply, reset


def post(to: Receiver | str, body: bytes = b"[]", seconds: float = 10.0):
    sender = HttpSender(to if isinstance(to, str) else to.url, {"Content-Type": "application/json"})
    try:
        return sender.post(body, time.monotonic() + seconds)
    finally:
        sender.close()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_success_is_delivery(status):
    with receiver(reply(status)) as server:
        assert post(server, b"[1]") is DELIVERED
        assert server.bodies == [b"[1]"]


def test_the_request_is_what_a_zipkin_server_expects():
    with receiver() as server:
        post(server)
        request, *headers = server.heads[0].lower().splitlines()
    assert request == "post /api/v2/spans http/1.1"
    assert {"content-type: application/json", "content-length: 2", f"host: 127.0.0.1:{server.port}"} <= set(headers)


def test_one_connection_serves_many_posts():
    with receiver() as server:
        sender = HttpSender(server.url, {})
        for _ in range(5):
            assert sender.post(b"[]", time.monotonic() + 10) is DELIVERED
        sender.close()
        assert (len(server.bodies), server.connections) == (5, 1)


def test_chunked_answers_are_read_and_the_connection_kept():
    chunked = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    def answer(connection: socket.socket) -> bool:
        connection.sendall(chunked)
        return True

    with receiver(answer) as server:
        sender = HttpSender(server.url, {})
        assert [sender.post(b"[]", time.monotonic() + 10) for _ in range(2)] == [DELIVERED] * 2
        sender.close()
        assert server.connections == 1


def test_a_connection_closed_by_the_server_while_idle_is_opened_again_at_once():
    with receiver(reply(202, keep=False)) as server:
        sender = HttpSender(server.url, {})
        assert sender.post(b"[1]", time.monotonic() + 10) is DELIVERED
        eventually(lambda: not server._open or all(one.fileno() == -1 for one in server._open))
        assert sender.post(b"[2]", time.monotonic() + 10) is DELIVERED
        sender.close()
        assert server.bodies == [b"[1]", b"[2]"]


def test_a_connection_reset_after_the_body_may_be_tried_again():
    with receiver(reset) as server:
        outcome = post(server)
        assert (outcome.reason, outcome.retry, len(server.bodies)) == (UNREACHABLE, True, 1)


def test_nobody_listening_may_be_tried_again():
    outcome = post(f"http://127.0.0.1:{free_port()}/")
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert "refused" in outcome.detail


def test_an_unknown_host_may_be_tried_again():
    outcome = post("http://nobody.invalid/")
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_that_may_pass_is_to_be_tried_again(status):
    with receiver(reply(status, body=b"wait\r\nfor me")) as server:
        outcome = post(server)
    assert (outcome.reason, outcome.retry, outcome.detail) == (f"http_{status}", True, f"{status} wait for me")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 501])
def test_a_refusal_is_final(status):
    with receiver(reply(status, body=b"no")) as server:
        outcome = post(server)
    assert (outcome.reason, outcome.retry, outcome.detail) == (f"http_{status}", False, f"{status} no")


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("Retry-After: 1", 1, 1),
        ("Retry-After: 0", 0, 0),
        ("Retry-After: {date}", 3, 6),
        ("Retry-After: Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        ("Retry-After: soon", 0, 0),
        ("Retry-After: -5", 0, 0),
        ("Retry-After: ", 0, 0),
        ("Retry-After: 1e9", 0, 0),
        ("Retry-After: 99999", 30, 30),
        ("Retry-After: " + "9" * 400, 30, 30),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", 30, 30),
        ("X-Other: 1", 0, 0),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(header, least, most):
    header = header.format(date=formatdate(time.time() + 5, usegmt=True))
    with receiver(reply(429, header + "\r\n")) as server:
        outcome = post(server)
    assert outcome.reason == "http_429"
    assert least <= outcome.retry_after <= most


def test_a_redirect_is_refused_and_no_span_goes_elsewhere():
    with receiver() as other, receiver(reply(307, f"Location: {other.url}\r\n")) as server:
        outcome = post(server)
        assert (outcome.reason, outcome.retry, other.connections) == ("redirected", False, 0)


def timed_out(server: Receiver, body: bytes = b"[]") -> None:
    start = time.monotonic()
    outcome = post(server, body, 0.3)
    assert 0.2 < time.monotonic() - start < 5  # not a measurement: without the deadline it takes for ever
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert "timed out" in outcome.detail


def test_a_server_that_never_answers_costs_the_deadline():
    with receiver() as server:
        server.answers = [server.hang]
        timed_out(server)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 202 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n" * 50])
def test_a_server_that_drips_its_answer_costs_the_deadline_all_the_same(start):
    with receiver() as server:
        server.answers = [server.drip(start + b"x" * 10_000)]
        timed_out(server)


def test_a_server_that_does_not_read_costs_the_deadline():
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        start = time.monotonic()
        outcome = post(f"http://127.0.0.1:{listener.getsockname()[1]}/x", b"x" * 20_000_000, 0.3)
        assert time.monotonic() - start < 5
        assert outcome.reason == UNREACHABLE


def test_the_status_counts_where_the_rest_of_the_answer_does_not_come():
    with receiver() as server:
        server.answers = [server.drip(b"HTTP/1.1 202 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * 10_000, 0.001)]
        assert post(server, seconds=1.0) is DELIVERED
        server.answers = [raw(b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\n\r\nx")]
        assert post(server) is DELIVERED


def test_a_giant_answer_is_not_read_to_its_end():
    sent = []

    def pour(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 202 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 100_000))

    with receiver(pour) as server:
        assert post(server) is DELIVERED
    assert sum(sent) < 50_000_000


@pytest.mark.parametrize(
    "garbage",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 202 OK\r\n" + b"a" * 70_000],
)
def test_answers_that_are_not_http_may_be_tried_again(garbage):
    with receiver(raw(garbage)) as server:
        outcome = post(server)
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert outcome.detail.isprintable()


def test_the_path_and_query_are_kept():
    with receiver() as server:
        assert post(f"http://127.0.0.1:{server.port}/zipkin/api?key=%20a") is DELIVERED
        assert server.heads[0].startswith("POST /zipkin/api?key=%20a HTTP/1.1")


def test_a_user_in_the_url_becomes_basic_authentication():
    """RFC 7617: Basic, and the base64 of ``user:password``, percent-decoded first."""
    with receiver() as server:
        assert post(f"http://me:p%40ss%C3%A9@127.0.0.1:{server.port}/") is DELIVERED
        assert "Authorization: Basic bWU6cEBzc8Op" in server.heads[0]
        assert "me:" not in server.heads[0]


def test_ipv6_addresses_work():
    try:
        context = receiver(family=socket.AF_INET6)
        server = context.__enter__()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    try:
        assert post(server) is DELIVERED
        assert f"Host: [::1]:{server.port}" in server.heads[0]
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    names = ["subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder


def tls(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def test_a_self_signed_certificate_is_refused_and_the_reason_named(certificate):
    with receiver(tls=tls(certificate)) as server:
        outcome = post(server)
        assert outcome.reason == UNREACHABLE
        assert "certificate verify failed: self-signed certificate" in outcome.detail
        assert server.bodies == []


def test_https_works_with_a_trusted_certificate_and_keeps_the_connection(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with receiver(tls=tls(certificate)) as server:
        sender = HttpSender(server.url, {})
        assert [sender.post(b"x" * 300_000, time.monotonic() + 10) for _ in range(2)] == [DELIVERED] * 2
        sender.close()
        assert server.connections == 1


def test_a_server_that_never_finishes_the_tls_handshake_costs_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        start = time.monotonic()
        outcome = post(f"https://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.3)
        assert time.monotonic() - start < 5
        assert outcome.reason == UNREACHABLE
        assert "timed out" in outcome.detail
