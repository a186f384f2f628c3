"""requests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from requests.adapters import HTTPAdapter, Retry

from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.installation import subsets
from obskit.testing.contract import installed


class TestRequests(HttpClientContract):
    """Patched."""

    integration = "requests"
    connection_error = requests.ConnectionError
    body_error = requests.RequestException
    timeout_error = requests.Timeout
    below = ("urllib3", "http_client")
    unsupported = {
        "test_body_shorter_than_announced_is_an_error": "http.client closes it as if complete; urllib3 counts later",
    }

    def get(self, url: str, headers: dict[str, str]) -> int:
        with requests.Session() as session:
            return session.get(url, headers=headers, timeout=10).status_code

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        with requests.Session() as session, session.get(url, stream=True, timeout=10) as response:
            yield response.iter_content(5)

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        proxies = {"http": via, "https": via} if via else None
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, data=body, timeout=timeout, proxies=proxies, verify=self.certificate)
            return answer.content

    def request_twice(self, url: str) -> None:
        with requests.Session() as session:
            session.get(url, timeout=10)
            session.get(url, timeout=10)

    def retry(self, url: str) -> int:
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=Retry(status=2, status_forcelist=[503])))
            return session.get(url, timeout=10).status_code

    def drop(self, url: str) -> None:
        requests.Session().get(url, stream=True, timeout=10)

    @pytest.mark.parametrize("layers", [names for names in subsets(("requests", "urllib3", "http_client")) if names])
    def test_one_call_is_one_span_whatever_is_installed(self, layers: tuple[str, ...]) -> None:
        self.uninstall()
        with self.upstream() as upstream, installed(layers):
            assert self.request("POST", self._url + "/gzip", body=b"sent") == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == self._url + "/gzip"
        assert span.tags["http.status_code"] == "200"
        assert upstream.headers()["x-b3-spanid"] == span.span_id

    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_refused_tunnel_is_an_error(self) -> None:
        """urllib3 before 2.3 leaves the socket of such a tunnel to a garbage collection."""
        super().test_refused_tunnel_is_an_error()
        gc.collect()

    def test_prepared_request_can_be_sent_again(self) -> None:
        request = requests.Request("GET", "http://unused/").prepare()
        with self.upstream() as upstream, requests.Session() as session:
            request.prepare_url(self._url, {})
            for _ in range(2):
                session.send(request, timeout=10)
                assert upstream.headers()["x-b3-spanid"] == self.recorder.take(CLIENT).span_id
