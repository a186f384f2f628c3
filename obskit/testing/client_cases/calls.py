"""What a test class tells the contract about a client: how to make each kind of call, and how its failures look."""

# ruff: noqa: ARG002 - what is not given takes what a test class gives it

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar, NoReturn

import pytest
from opentelemetry.trace import SpanKind

from obskit.testing.client_cases.tls import certificate_file
from obskit.testing.client_cases.upstream import Upstream, running
from obskit.testing.contract import Contract

CLIENT = SpanKind.CLIENT


class HttpClientCalls(Contract):
    """``get`` and ``stream`` are demanded; tests that need another call skip, and say so, where it is not given."""

    connection_error: ClassVar[type[BaseException]]
    body_error: ClassVar[type[BaseException]]
    timeout_error: ClassVar[type[BaseException]] = TimeoutError
    below: ClassVar[tuple[str, ...]] = ()
    closes_when_dropped: ClassVar[bool] = True

    def get(self, url: str, headers: dict[str, str]) -> int:
        """GET ``url``, following redirects, and return the status."""
        raise NotImplementedError

    def stream(self, url: str) -> AbstractContextManager[Iterator[bytes]]:
        """GET ``url``; give its body in two chunks of five bytes, and close it at the end of the block."""
        raise NotImplementedError

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        """Make a request and return the body of its response; give up after ``timeout`` seconds without an answer.

        ``via`` is the URL of a proxy, for HTTPS too. The certificates of ``certificate`` are to be trusted.
        """
        _skip("request")

    def request_twice(self, url: str) -> None:
        """GET ``url`` twice, over one connection."""
        _skip("request_twice")

    def retry(self, url: str) -> int:
        """GET ``url`` with the library's own retries on status 503, two at least; return the last status."""
        _skip("retry")

    def drop(self, url: str) -> None:
        """GET ``url`` and forget the response, and all that belongs to it, without reading or closing it."""
        _skip("drop")

    @property
    def certificate(self) -> str:
        """The path of a PEM file with the certificate of the test's HTTPS server."""
        return certificate_file()

    @contextmanager
    def upstream(self) -> Iterator[Upstream]:
        """Run the server that all requests go to."""
        with running() as (upstream, self._url):
            yield upstream

    def fetch(self, path: str, **headers: str) -> int:
        """GET a path of the server."""
        return self.get(self._url + path, headers)


def _skip(call: str) -> NoReturn:
    pytest.skip(f"the test class gives no {call}()")
