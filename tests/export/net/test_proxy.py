"""Spans go through the HTTP proxy that the environment names, and NO_PROXY and this machine go without."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import obskit
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.net.http_sender import HttpSender
from tests.export.proxy_server import proxy_server
from tests.export.receiver import Receiver, clean_environ, free_port, receiver, reply

PASSWORD = "hunter2"
CREDENTIALS = f"me:{PASSWORD}"
BASIC = "Proxy-Authorization: Basic bWU6aHVudGVyMg=="


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a certificate for zipkin.example."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=zipkin.example -addext"
    names = ["subjectAltName=DNS:zipkin.example", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder


@contextmanager
def tls_receiver(certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with receiver(tls=context) as server:
        yield server


def use(monkeypatch: pytest.MonkeyPatch, variable: str, port: int, user: str = "") -> None:
    monkeypatch.setenv(variable, f"http://{user}127.0.0.1:{port}")


def post(url: str, seconds: float = 10.0) -> Outcome:
    sender = HttpSender(url, {})
    try:
        return sender.post(b"[]", time.monotonic() + seconds)
    finally:
        sender.close()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_https_goes_through_a_tunnel_in_which_the_proxy_sees_nothing(variable, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with tls_receiver(certificate) as server, proxy_server(server.port) as proxy:
        use(monkeypatch, variable, proxy.port, f"{CREDENTIALS}@")
        sender = HttpSender("https://zipkin.example:9411/api/v2/spans?key=secret", {})
        assert [sender.post(b"[]", time.monotonic() + 10) for _ in range(2)] == [DELIVERED] * 2
        sender.close()
        assert server.connections == 1
        assert [head.split("\r\n")[0] for head in server.heads] == ["POST /api/v2/spans?key=secret HTTP/1.1"] * 2
        assert "Host: zipkin.example:9411" in server.heads[0]
        assert "Proxy-Authorization" not in server.heads[0]
        (head,) = proxy.heads
        connect = ["CONNECT zipkin.example:9411 HTTP/1.1", "Host: zipkin.example:9411", BASIC]
        assert head.split("\r\n") == [*connect, "", ""]


def test_the_certificate_behind_a_proxy_must_be_the_servers(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    with tls_receiver(certificate) as server, proxy_server(server.port) as proxy:
        use(monkeypatch, "HTTPS_PROXY", proxy.port)
        outcome = post("https://other.example/")
        assert (outcome.reason, server.bodies) == (UNREACHABLE, [])
        assert "certificate verify failed" in outcome.detail
        assert proxy.heads[0].startswith("CONNECT other.example:443 HTTP/1.1")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_plain_http_asks_the_proxy_for_the_whole_url(variable, monkeypatch):
    with receiver() as server, proxy_server(server.port) as proxy:
        use(monkeypatch, variable, proxy.port, f"{CREDENTIALS}@")
        sender = HttpSender("http://user:pass@zipkin.example:9411/api?key=%20a", {"b3": "0"})
        assert [sender.post(b"[]", time.monotonic() + 10) for _ in range(2)] == [DELIVERED] * 2
        sender.close()
        lines = proxy.heads[0].split("\r\n")
        assert lines[0] == "POST http://zipkin.example:9411/api?key=%20a HTTP/1.1"
        assert {"Host: zipkin.example:9411", BASIC, "b3: 0", "Authorization: Basic dXNlcjpwYXNz"} <= set(lines)
        assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:{port}/"),
        ("HTTP_PROXY", "http://127.0.0.2:{port}/"),
        ("HTTP_PROXY", "http://localhost:{port}/"),
        ("HTTPS_PROXY", "http://localhost:{port}/"),
    ],
)
def test_this_machine_is_reached_without_a_proxy(variable, url, monkeypatch):
    with socket.create_server(("", 0)) as probe:
        port = probe.getsockname()[1]
    with receiver(port=port) as server, proxy_server(server.port) as proxy:
        use(monkeypatch, variable, proxy.port)
        post(url.format(port=port))
        assert proxy.heads == []


@pytest.mark.parametrize(
    ("no_proxy", "used"),
    [
        ("", True),
        ("*", False),
        ("example.invalid", False),
        (".invalid", False),
        ("other.invalid, zipkin.example.invalid", False),
        ("zipkin.example.invalid:9411", False),
        ("zipkin.example.invalid:1", True),
        ("xample.invalid", True),
    ],
)
def test_no_proxy_names_hosts_and_domains_that_are_reached_without_one(no_proxy, used, monkeypatch):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with receiver() as server, proxy_server(server.port) as proxy:
        use(monkeypatch, "HTTP_PROXY", proxy.port)
        outcome = post("http://zipkin.example.invalid:9411/")
        assert (outcome is DELIVERED, len(proxy.heads)) == (used, int(used))


@pytest.mark.parametrize(
    ("url", "whole", "host"),
    [
        ("http://zipkin.exämple/a", "http://zipkin.xn--exmple-cua/a", "zipkin.xn--exmple-cua"),
        ("http://zipkin.example:80/a", "http://zipkin.example/a", "zipkin.example"),
        ("http://[2001:db8::80]:9411/a", "http://[2001:db8::80]:9411/a", "[2001:db8::80]:9411"),
    ],
)
def test_the_whole_url_is_ascii_and_has_no_port_that_says_nothing(url, whole, host, monkeypatch):
    with receiver() as server, proxy_server(server.port) as proxy:
        use(monkeypatch, "HTTP_PROXY", proxy.port)
        assert post(url) is DELIVERED
        assert proxy.heads[0].startswith(f"POST {whole} HTTP/1.1\r\nHost: {host}\r\n")


def test_ipv6_addresses_are_asked_for_in_brackets(monkeypatch):
    with proxy_server(0, b"HTTP/1.1 502 no way\r\n\r\n") as proxy:
        use(monkeypatch, "HTTPS_PROXY", proxy.port)
        post("https://[2001:db8::1]:9411/")
        assert proxy.heads[0].startswith("CONNECT [2001:db8::1]:9411 HTTP/1.1\r\nHost: [2001:db8::1]:9411\r\n")


# What may go wrong


def check(outcome: Outcome, proxy: int, text: str) -> None:
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)
    assert text in outcome.detail
    assert f"(through the proxy 127.0.0.1:{proxy})" in outcome.detail
    assert PASSWORD not in outcome.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_credentials_is_named(scheme, monkeypatch):
    with proxy_server(0, b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as proxy:
        use(monkeypatch, f"{scheme}_proxy", proxy.port, f"{CREDENTIALS}@")
        check(post(f"{scheme}://zipkin.example/"), proxy.port, "407 Proxy Authentication Required")


def test_a_proxy_that_opens_no_tunnel_is_named(monkeypatch):
    with proxy_server(0, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy:
        use(monkeypatch, "HTTPS_PROXY", proxy.port, f"{CREDENTIALS}@")
        check(post("https://zipkin.example/"), proxy.port, "502 Bad Gateway")


def test_an_answer_that_came_through_a_proxy_says_so(monkeypatch):
    with receiver(reply(502, body=b"no such host")) as server, proxy_server(server.port) as proxy:
        use(monkeypatch, "HTTP_PROXY", proxy.port, f"{CREDENTIALS}@")
        outcome = post("http://zipkin.example/")
        assert (outcome.reason, outcome.retry) == ("http_502", True)
        assert outcome.detail == f"502 no such host (through the proxy 127.0.0.1:{proxy.port})"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_named(scheme, monkeypatch):
    port = free_port()
    use(monkeypatch, f"{scheme}_proxy", port, f"{CREDENTIALS}@")
    check(post(f"{scheme}://zipkin.example/"), port, "refused")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_hangs_costs_the_deadline(scheme, monkeypatch):
    with proxy_server(0, b"") as proxy:
        use(monkeypatch, f"{scheme}_proxy", proxy.port, f"{CREDENTIALS}@")
        start = time.monotonic()
        check(post(f"{scheme}://zipkin.example/", 0.3), proxy.port, "timed out")
        assert 0.2 < time.monotonic() - start < 5  # not a measurement: without the deadline it takes for ever


@pytest.mark.parametrize(
    "garbage", [b"garbage\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\ngarbage"]
)
def test_a_proxy_that_speaks_something_else_may_be_tried_again(garbage, monkeypatch):
    with proxy_server(0, garbage) as proxy:
        use(monkeypatch, "HTTPS_PROXY", proxy.port)
        check(post("https://zipkin.example/"), proxy.port, "")


@pytest.mark.parametrize("url", [f"socks5://{CREDENTIALS}@h:1", f"https://{CREDENTIALS}@h:1", "http://", "http://h:x"])
def test_a_proxy_of_another_kind_is_not_used_and_one_warning_says_so(url, monkeypatch, caplog):
    monkeypatch.setenv("HTTP_PROXY", url)
    with caplog.at_level(logging.WARNING):
        assert post("http://zipkin.invalid/").reason == UNREACHABLE
    (message,) = caplog.messages
    assert message == (
        "HTTP_PROXY is not of the form http://host:port: obskit knows no other proxies, and goes to zipkin.invalid "
        "without one"
    )


def test_a_proxy_may_be_named_without_its_scheme(monkeypatch):
    with receiver() as server, proxy_server(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        assert post("http://zipkin.example/") is DELIVERED
        assert len(proxy.heads) == 1


@pytest.mark.usefixtures("fresh")
def test_the_log_and_the_statistics_name_the_proxy_without_its_credentials(monkeypatch, caplog):
    port = free_port()
    use(monkeypatch, "HTTP_PROXY", port, f"{CREDENTIALS}@")
    obskit.init(exporter="http://zipkin.example:9411", integrations=[])
    with obskit.span("lost"):
        pass
    assert not obskit.flush(timeout=0.5)
    assert f"through the proxy 127.0.0.1:{port}" in caplog.text
    assert PASSWORD not in caplog.text + str(obskit.stats())


def test_without_a_proxy_nothing_is_imported_for_it():
    code = """
import sys, time
from obskit.export.net.http_sender import HttpSender
HttpSender("http://zipkin.example/", {})
assert "urllib.request" not in sys.modules
"""
    environ = {name: value for name, value in clean_environ().items() if not name.lower().endswith("_proxy")}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)


@pytest.mark.usefixtures("fresh")
def test_the_spans_of_a_program_go_through_the_proxy(monkeypatch):
    with receiver() as server, proxy_server(server.port) as proxy:
        use(monkeypatch, "HTTP_PROXY", proxy.port)
        obskit.init(exporter="http://zipkin.example:9411", integrations=[])
        with obskit.span("sent"):
            pass
        assert obskit.flush()
        assert (server.names, len(proxy.heads)) == (["sent"], 1)
