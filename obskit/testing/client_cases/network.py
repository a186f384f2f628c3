"""Connections: kept, refused and timed out, through proxies and with TLS."""

from __future__ import annotations

import socket

import pytest

from obskit.testing.client_cases.calls import CLIENT, HttpClientCalls
from obskit.testing.client_cases.proxy import full_backlog, proxy
from obskit.testing.client_cases.tls import tls_running


class NetworkCases(HttpClientCalls):
    """What happens below a request."""

    def test_connection_is_kept_alive(self) -> None:
        """Tracing does not cost the second request a connection of its own."""
        with self.upstream() as upstream:
            self.request_twice(self._url + "/a")
            first, second = self.recorder.take(CLIENT), self.recorder.take(CLIENT)
        assert len(upstream.connections) == 1
        assert [headers["x-b3-spanid"] for _, headers in upstream.received] == [first.span_id, second.span_id]

    def test_transport_error_is_tagged_and_unchanged(self) -> None:
        """The library's own exception reaches the caller; the span ends with it."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/a"
            with pytest.raises(self.connection_error):
                self.get(url, {})
        span = self.recorder.take(CLIENT, error="")
        assert "http.status_code" not in span.tags

    def test_time_out_while_connecting_is_the_librarys_own(self) -> None:
        """The caller gets it as ever, and the span says what it was."""
        with full_backlog() as url, pytest.raises(self.timeout_error):
            self.request("GET", url, timeout=0.05)
        self.recorder.take(CLIENT, error="")

    def test_time_out_while_waiting_is_the_librarys_own(self) -> None:
        """The same where the server has the request and does not answer."""
        with self.upstream() as upstream:
            with pytest.raises(self.timeout_error):
                self.request("GET", self._url + "/silence", timeout=0.05)
            self.recorder.take(CLIENT, error="")
            upstream.go_on.set()

    def test_https_is_traced(self) -> None:
        """As HTTP is, with the scheme in the URL."""
        with tls_running() as (upstream, url):
            assert self.request("GET", url + "/a?q=1") == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == url + "/a"
        assert upstream.headers()["x-b3-spanid"] == span.span_id

    def test_untrusted_certificate_is_an_error(self) -> None:
        """The certificate is not for this name."""
        with tls_running() as (_, url), pytest.raises(self.connection_error):
            self.request("GET", url.replace("localhost", "127.0.0.2") + "/a")
        self.recorder.take(CLIENT, error="")

    def test_forwarding_proxy_sees_one_traced_request(self) -> None:
        """The span tells of the server, not of the proxy."""
        with self.upstream() as upstream, proxy() as (via, asked):
            assert self.request("GET", self._url + "/a", via=via) == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == self._url + "/a"
        assert upstream.headers()["x-b3-spanid"] == span.span_id
        assert [line for line, _ in asked] == [f"GET {self._url}/a HTTP/1.1"]

    def test_tunnel_is_neither_traced_nor_told(self) -> None:
        """CONNECT gets no trace headers and no span; the request inside it has both."""
        with tls_running() as (upstream, url), proxy() as (via, asked):
            assert self.request("GET", url + "/a", via=via) == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == url + "/a"
        assert upstream.headers()["x-b3-spanid"] == span.span_id
        [(line, names)] = asked
        assert line.startswith("CONNECT localhost:")
        assert not [name for name in names if name.startswith("x-b3")]

    def test_refused_tunnel_is_an_error(self) -> None:
        """The library's own, in which the span ends."""
        with proxy(403) as (via, _), pytest.raises(self.connection_error):
            self.request("GET", "https://localhost:1/a", via=via)
        self.recorder.take(CLIENT, error="403", timeout=1)  # it has ended, if there is one
