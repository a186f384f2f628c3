"""urllib3, 1.26 and 2."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3
from urllib3._collections import HTTPHeaderDict

from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.proxy import proxy
from obskit.testing.client_cases.tls import tls_running


class TestUrllib3(HttpClientContract):
    """Patched."""

    integration = "urllib3"
    connection_error = urllib3.exceptions.MaxRetryError
    body_error = urllib3.exceptions.ProtocolError
    timeout_error = urllib3.exceptions.MaxRetryError
    below = ("http_client",)
    unsupported = {
        "test_body_shorter_than_announced_is_an_error": "http.client closes it as if complete; urllib3 counts later",
    }

    def get(self, url: str, headers: dict[str, str]) -> int:
        with urllib3.PoolManager(retries=urllib3.Retry(connect=0, redirect=3)) as pool:
            return pool.request("GET", url, headers=headers, timeout=10).status

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        with urllib3.PoolManager() as pool:
            response = pool.request("GET", url, preload_content=False, timeout=10)
            try:
                yield response.stream(5)
            finally:
                response.close()

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        options = {"ca_certs": self.certificate, "retries": urllib3.Retry(total=0), "timeout": timeout}
        with urllib3.ProxyManager(via, **options) if via else urllib3.PoolManager(**options) as pool:
            return pool.request(method, url, body=body).data

    def request_twice(self, url: str) -> None:
        with urllib3.PoolManager() as pool:
            pool.request("GET", url)
            pool.request("GET", url)

    def retry(self, url: str) -> int:
        with urllib3.PoolManager(retries=urllib3.Retry(status=2, status_forcelist=[503])) as pool:
            return pool.request("GET", url).status

    def drop(self, url: str) -> None:
        urllib3.PoolManager().request("GET", url, preload_content=False, timeout=10)

    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_refused_tunnel_is_an_error(self) -> None:
        """urllib3 before 2.3 leaves the socket of such a tunnel to a garbage collection."""
        super().test_refused_tunnel_is_an_error()
        gc.collect()

    def test_headers_of_caller_and_pool_are_not_touched(self) -> None:
        """urllib3 hands on the very objects where there is a tunnel, and copies of them elsewhere."""
        mine, pools = {"X-Mine": "1", "X-B3-TraceId": "old"}, {"X-Pool": "1"}
        options = {"headers": pools, "ca_certs": self.certificate}
        with tls_running() as (_, url), proxy() as (via, _), urllib3.ProxyManager(via, **options) as pool:
            pool.request("GET", url, headers=mine)
            pool.request("GET", url)
            self.recorder.take(CLIENT)
            self.recorder.take(CLIENT)
        assert (mine, pools) == ({"X-Mine": "1", "X-B3-TraceId": "old"}, {"X-Pool": "1"})

    def test_repeated_headers_stay_repeated(self) -> None:
        headers = HTTPHeaderDict([("X-Twice", "1"), ("X-Twice", "2"), ("x-b3-traceid", "old")])
        with self.upstream() as upstream, urllib3.PoolManager() as pool:
            pool.request("GET", self._url, headers=headers)
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-twice"] == "1,2"
        assert upstream.headers()["x-b3-traceid"] == span.trace_id
        assert headers["x-b3-traceid"] == "old"
