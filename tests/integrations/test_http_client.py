"""http.client."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPSConnection,
    IncompleteRead,
    InvalidURL,
    RemoteDisconnected,
    ResponseNotReady,
)
from urllib.parse import urljoin, urlsplit

import pytest

from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.testing.client_cases.tls import client_context


def connect(url: str, timeout: float = 10) -> HTTPConnection:
    """Return a connection, not yet open."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=client_context())
    return HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)


def send_for_ever(connection: HTTPConnection) -> None:
    """Send until that fails."""
    while True:
        connection.send(bytes(65536))


class TestHttpClient(HttpClientContract):
    """Patched."""

    integration = "http_client"
    connection_error = OSError
    body_error = IncompleteRead
    timeout_error = TimeoutError

    def get(self, url: str, headers: dict[str, str]) -> int:
        connection = connect(url)
        try:
            connection.request("GET", url.removeprefix(f"http://{urlsplit(url).netloc}"), headers=headers)
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        location = response.getheader("Location")
        return self.get(urljoin(url, location), headers) if location else response.status

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        connection = connect(url)
        connection.request("GET", urlsplit(url).path)
        with connection.getresponse() as response:
            try:
                yield (response.read(size) for size in (5, None))
            finally:
                connection.close()

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        connection = connect(url, timeout)
        target = url.removeprefix(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}")
        if via and url.startswith("https"):
            connection.set_tunnel(connection.host, connection.port)
        elif via:
            target = url
        if via:
            proxy = urlsplit(via)
            connection.host, connection.port = proxy.hostname or "", proxy.port or 80
        try:
            connection.request(method, target, body)
            return connection.getresponse().read()
        finally:
            connection.close()

    def request_twice(self, url: str) -> None:
        connection = connect(url)
        for _ in range(2):
            connection.request("GET", "/a")
            connection.getresponse().read()
        connection.close()

    def drop(self, url: str) -> None:
        connection = connect(url)
        connection.request("GET", urlsplit(url).path)
        connection.getresponse()

    def test_request_in_single_steps_is_traced(self) -> None:
        with self.upstream() as upstream:
            connection = connect(self._url)
            connection.putrequest(method="POST", url="/a")
            for name, value in {"X-Twice": "1", "x-twice": "2", "Content-Length": "4"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(b"sent")
            assert connection.getresponse().read() == b"hello"
            connection.close()
            span = self.recorder.take(CLIENT)
        assert upstream.headers()["x-twice"] == "1,2"
        assert upstream.headers()["x-b3-spanid"] == span.span_id
        assert upstream.bodies == [b"sent"]

    def test_closing_without_asking_for_the_response_ends_the_span(self) -> None:
        with self.upstream():
            connection = connect(self._url)
            connection.request("GET", "/a")
            self.recorder.assert_empty()
            connection.close()
            assert "http.status_code" not in self.recorder.take(CLIENT).tags

    def test_forgetting_the_connection_ends_the_span(self) -> None:
        with self.upstream(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            connection = connect(self._url)
            connection.request("GET", "/a")
            del connection
            self.recorder.take(CLIENT)

    def test_next_request_ends_one_that_was_never_sent(self) -> None:
        """Closing resets a connection even if it was never open."""
        connection = connect("http://127.0.0.1:1")
        connection.putrequest("GET", "/a")
        connection.close()
        self.recorder.take(CLIENT)

    def test_invalid_request_is_none(self) -> None:
        """What never went out has no span, and the library's own error."""
        with pytest.raises(InvalidURL):
            connect("http://127.0.0.1:1").request("GET", "/a b")

    def test_nonsense_for_an_answer_is_an_error(self) -> None:
        with _server(b"nonsense\r\n\r\n") as url, pytest.raises(BadStatusLine):
            self.request("GET", url)
        self.recorder.take(CLIENT, error="BadStatusLine")

    def test_asking_too_early_changes_nothing(self) -> None:
        """The library refuses, and the request can go on."""
        with self.upstream():
            connection = connect(self._url)
            connection.connect()
            connection.putrequest("GET", "/a")
            with pytest.raises(ResponseNotReady):
                connection.getresponse()
            connection.endheaders()
            assert connection.getresponse().read() == b"hello"
            connection.close()
            self.recorder.take(CLIENT)

    def test_answer_before_the_body_is_sent_is_the_result(self) -> None:
        """A server may refuse a body and close: sending fails, but the answer is there."""
        with _server(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n") as url:
            connection = connect(url)
            connection.putrequest("POST", "/a")
            connection.endheaders()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                send_for_ever(connection)
            self.recorder.assert_empty()
            assert connection.getresponse().status == 413
            connection.close()
        span = self.recorder.take(CLIENT, error="413")
        assert span.tags["error"] == "413"

    def test_connection_closed_instead_of_an_answer_is_an_error_at_once(self) -> None:
        """Though the program keeps its connection object, for other requests."""
        with _server(b"") as url:
            connection = connect(url)
            connection.request("GET", "/")
            with pytest.raises(RemoteDisconnected):
                connection.getresponse()
            self.recorder.take(CLIENT, error="RemoteDisconnected")
            connection.close()

    def test_failure_to_send_without_an_answer_is_the_error(self) -> None:
        with _server(b"") as url:
            connection = connect(url)
            connection.putrequest("POST", "/a")
            connection.endheaders()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                send_for_ever(connection)
            connection.close()
        self.recorder.take(CLIENT, error="Error: ")

    def test_response_without_a_body_ends_the_span_unread(self) -> None:
        with self.upstream():
            connection = connect(self._url)
            connection.request("HEAD", "/a")
            response = connection.getresponse()
            self.recorder.take(CLIENT)
            response.close()
            connection.close()

    def test_file_of_a_response_that_was_read_is_closed(self) -> None:
        with self.upstream():
            connection = connect(self._url)
            connection.request("GET", "/a")
            response = connection.getresponse()
            file = response.fp
            response.read()
            assert file.closed
            connection.close()
            self.recorder.take(CLIENT)

    def test_response_that_was_read_leaves_no_garbage(self) -> None:
        """Its file goes away with it, without a garbage collection."""
        with self.upstream():
            connection = connect(self._url)
            connection.request("GET", "/a")
            response = connection.getresponse()
            file = weakref.ref(response.fp)
            gc.disable()
            try:
                response.read()
                assert file() is None
            finally:
                gc.enable()
            connection.close()
            self.recorder.take(CLIENT)

    def test_connection_is_left_as_it_was(self) -> None:
        with self.upstream():
            connection = connect(self._url)
            before = vars(connection).keys() - {"_obskit_exchange"}
            connection.request("GET", "/a")
            connection.getresponse().read()
            connection.close()
            self.recorder.take(CLIENT)
        assert vars(connection).keys() - before <= {"_obskit_exchange"}
        assert vars(connection).get("_obskit_exchange") is None


@contextmanager
def _server(answer: bytes) -> Iterator[str]:
    """Answer one connection as soon as its request starts, and close it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer_one() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_one, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        thread.join(10)
