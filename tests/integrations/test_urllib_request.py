"""urllib.request, which ``http_client`` covers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import IncompleteRead
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

import pytest

from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.tls import client_context


def opener(via: str | None = None) -> OpenerDirector:
    """Return an opener that trusts the tests' certificate and uses no proxy of the environment."""
    return build_opener(
        ProxyHandler({"http": via, "https": via} if via else {}), HTTPSHandler(context=client_context())
    )


class TestUrllibRequest(HttpClientContract):
    """Patched."""

    integration = "http_client"
    connection_error = OSError
    body_error = IncompleteRead
    timeout_error = OSError
    unsupported = {"test_connection_is_kept_alive": "urllib.request closes each connection"}

    def get(self, url: str, headers: dict[str, str]) -> int:
        try:
            with opener().open(Request(url, headers=headers), timeout=10) as response:
                response.read()
                return int(response.status)
        except HTTPError as error:
            with error:
                error.read()
                return error.code

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        with opener().open(url, timeout=10) as response:
            yield (response.read(size) for size in (5, None))

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        with opener(via).open(Request(url, body, method=method), timeout=timeout) as response:
            return bytes(response.read())

    def request_twice(self, url: str) -> None:
        self.get(url, {})
        self.get(url, {})

    def drop(self, url: str) -> None:
        opener().open(url, timeout=10)

    def test_userinfo_is_not_recorded(self) -> None:
        """urllib.request takes it for a part of the host's name, and fails."""
        with self.upstream(), pytest.raises(self.connection_error):
            self.get(self._url.replace("//", "//user:secret@") + "/a", {})
        assert "secret" not in str(self.recorder.take(CLIENT, error="").tags)
