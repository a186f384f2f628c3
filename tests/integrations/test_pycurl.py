"""pycurl: a handle that performs, and handles in a CurlMulti."""

from __future__ import annotations

import gc
import io
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from obskit.testing import HttpClientContract
from obskit.testing.client_cases.calls import CLIENT
from obskit.tracing.current import current_span

pycurl: Any = pytest.importorskip("pycurl")

CURL_FOLLOWS = "libcurl follows redirects itself, with the headers of the first hop"


class TestPerform(HttpClientContract):
    """``Curl.perform``."""

    integration = "pycurl"
    connection_error = body_error = timeout_error = pycurl.error
    unsupported: ClassVar[dict[str, str]] = {
        "test_redirect_makes_two_siblings": CURL_FOLLOWS,
        "test_each_hop_of_a_redirect_is_decided_by_its_own_host": CURL_FOLLOWS,
    }

    def handle(self, url: str, write: Callable[[bytes], object]) -> Any:
        curl = pycurl.Curl()
        to_trust = {"CAINFO": self.certificate}
        for option, value in {
            "URL": url, "WRITEFUNCTION": write, "FOLLOWLOCATION": 1, "NOSIGNAL": 1, "NOPROXY": "", **to_trust
        }.items():  # fmt: skip
            curl.setopt(getattr(pycurl, option), value)
        return curl

    def perform(self, curl: Any) -> None:
        curl.perform()

    def get(self, url: str, headers: dict[str, str]) -> int:
        curl = self.handle(url, len)
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers.items()])
        self.perform(curl)
        return curl.getinfo(pycurl.RESPONSE_CODE)  # type: ignore[no-any-return]

    @contextmanager
    def stream(self, url: str) -> Iterator[Iterator[bytes]]:
        """A CurlMulti can be left between two chunks."""
        chunks: deque[bytes] = deque()
        curl, multi = self.handle(url, chunks.append), pycurl.CurlMulti()
        multi.add_handle(curl)
        try:
            yield steps(multi, chunks)
        finally:
            multi.remove_handle(curl)

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        received = io.BytesIO()
        curl = self.handle(url, received.write)
        curl.setopt(pycurl.TIMEOUT_MS, int(timeout * 1000))
        if via:
            curl.setopt(pycurl.PROXY, via)
        if body is not None:
            curl.setopt(pycurl.POSTFIELDS, body)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, True)
        self.perform(curl)
        return received.getvalue()

    def request_twice(self, url: str) -> None:
        curl = self.handle(url, len)
        self.perform(curl)
        self.perform(curl)

    def drop(self, url: str) -> None:
        """Handle and CurlMulti hold each other in older releases."""
        self._drop_both(url)
        gc.collect()

    def _drop_both(self, url: str) -> None:
        curl, multi = self.handle(url, len), pycurl.CurlMulti()
        multi.add_handle(curl)
        while not curl.getinfo(pycurl.RESPONSE_CODE):
            multi.perform()
            multi.select(0.01)

    @pytest.mark.parametrize(
        ("options", "method"),
        [
            ({"POST": 1, "POSTFIELDS": "a"}, "POST"),
            ({"POSTFIELDS": "a"}, "POST"),
            ({"POSTFIELDS": "a", "HTTPGET": 1}, "GET"),
            ({"NOBODY": 1}, "HEAD"),
            ({"NOBODY": 1, "HTTPGET": 1}, "GET"),
            ({"CUSTOMREQUEST": b"DELETE"}, "DELETE"),
            ({"POSTFIELDS": "a", "CUSTOMREQUEST": "PATCH"}, "PATCH"),
        ],
    )
    def test_method_is_that_of_the_last_option_that_names_one(self, options: dict[str, Any], method: str) -> None:
        curl = self.handle("", len)
        for option, value in options.items():
            curl.setopt(getattr(pycurl, option), value)
        with self.upstream() as upstream:
            curl.setopt(pycurl.URL, f"{self._url}/a".encode())
            curl.setopt(pycurl.TIMEOUT_MS, 10_000)
            self.perform(curl)
            span = self.recorder.take(CLIENT, error="501" if curl.getinfo(pycurl.RESPONSE_CODE) == 501 else None)
        assert span.tags["http.method"] == method
        assert not upstream.received or method in ("GET", "POST", "HEAD")

    def test_a_method_that_is_taken_back_is_not_named(self) -> None:
        with self.upstream():
            curl = self.handle(self._url, len)
            for option, value in (("NOBODY", 1), ("NOBODY", 0), ("CUSTOMREQUEST", "HEAD")):
                curl.setopt(getattr(pycurl, option), value)
            curl.unsetopt(pycurl.CUSTOMREQUEST)
            self.perform(curl)
            assert self.recorder.take(CLIENT).name == "GET"

    def test_url_without_a_scheme_is_one_of_http(self) -> None:
        with self.upstream():
            self.perform(self.handle(self._url.removeprefix("http://") + "/a", len))
            assert self.recorder.take(CLIENT).tags["http.url"] == self._url + "/a"

    def test_other_protocols_are_left_alone(self, tmp_path: Any) -> None:
        (tmp_path / "a").write_bytes(b"hello")
        self.perform(self.handle(f"file://{tmp_path}/a", len))

    def test_a_handles_headers_are_its_own_again_afterwards(self) -> None:
        """Whatever it or a duplicate of it does next carries no trace of this request."""
        with self.upstream() as upstream:
            curl = self.handle(self._url, len)
            curl.setopt(pycurl.HTTPHEADER, ("X-Mine: 1", b"X-Bytes: 2"))
            curl.setopt(pycurl.HTTPHEADER, [])  # which pycurl passes over
            self.perform(curl)
            first = self.recorder.take(CLIENT)
            self.perform(curl.duphandle())
            second = self.recorder.take(CLIENT)
            self.uninstall()
            self.perform(curl)
            curl.unsetopt(pycurl.HTTPHEADER)
            self.perform(curl)
        sent = [headers for _, headers in upstream.received]
        assert [one.get("x-b3-spanid") for one in sent] == [first.span_id, second.span_id, None, None]
        assert [(one.get("x-mine"), one.get("x-bytes")) for one in sent] == [("1", "2")] * 3 + [(None, None)]

    def test_a_handle_that_was_reset_starts_anew(self) -> None:
        with self.upstream() as upstream:
            curl = self.handle(self._url, len)
            curl.setopt(pycurl.POSTFIELDS, "sent")
            curl.setopt(pycurl.HTTPHEADER, ["X-Mine: 1"])
            curl.reset()
            curl.setopt(pycurl.URL, self._url)
            curl.setopt(pycurl.WRITEFUNCTION, len)
            self.perform(curl)
            assert self.recorder.take(CLIENT).name == "GET"
        assert "x-mine" not in upstream.headers()

    def test_what_a_callback_calls_is_no_part_of_the_transfer(self) -> None:
        def write(_: bytes) -> None:
            assert current_span().span_id is None
            self.perform(self.handle(self._url + "/404", len))

        with self.upstream():
            self.perform(self.handle(self._url, write))
            inner, outer = self.recorder.take(CLIENT, error="404"), self.recorder.take(CLIENT)
        assert (inner.parent_id, outer.parent_id) == (None, None)

    def test_exception_of_a_callback_ends_the_span(self) -> None:
        def write(_: bytes) -> int:
            return 0

        with self.upstream(), pytest.raises(pycurl.error):
            self.perform(self.handle(self._url, write))
        self.recorder.take(CLIENT, error="")

    def test_headers_that_the_handle_refuses_by_name_stay_away(self) -> None:
        """``Name:`` alone is curl's way to send none of that name."""
        with self.upstream() as upstream:
            curl = self.handle(self._url, len)
            curl.setopt(pycurl.HTTPHEADER, ["Accept:", "X-Empty;", "x-b3-traceid: old"])
            self.perform(curl)
            span = self.recorder.take(CLIENT)
        assert (upstream.headers().get("accept"), upstream.headers()["x-empty"]) == (None, "")
        assert upstream.headers()["x-b3-traceid"] == span.trace_id

    def test_subclasses_of_the_programs_own_are_traced(self) -> None:
        class Mine(pycurl.Curl):  # type: ignore[misc]
            def __init__(self) -> None:
                self.told: list[int] = []

            def setopt(self, *args: Any) -> None:
                self.told.append(args[0])
                super().setopt(*args)

        with self.upstream():
            curl = Mine()
            curl.setopt(pycurl.URL, self._url)
            curl.setopt(pycurl.WRITEFUNCTION, len)
            self.perform(curl)
            self.recorder.take(CLIENT)
        assert curl.told == [pycurl.URL, pycurl.WRITEFUNCTION]


class TestMulti(TestPerform):
    """Handles in a CurlMulti."""

    def perform(self, curl: Any, multi: Any = None) -> None:
        multi = multi or pycurl.CurlMulti()
        multi.add_handle(curl)
        try:
            for _ in steps(multi, deque()):
                pass
        finally:
            multi.remove_handle(curl)

    def request_twice(self, url: str) -> None:
        multi = pycurl.CurlMulti()  # which keeps the connections
        for _ in range(2):
            self.perform(self.handle(url, len), multi)

    def test_transfers_side_by_side_keep_apart(self) -> None:
        multi = pycurl.CurlMulti()
        with self.upstream() as upstream:
            curls = [self.handle(f"{self._url}/{status}", len) for status in (200, 404, 500)]
            for curl in curls:
                multi.add_handle(curl)
            with pytest.raises(pycurl.error):
                multi.add_handle(curls[0])
            for _ in steps(multi, deque()):
                pass
            paths = [path for path, _ in upstream.received]
        spans = [self.recorder._spans.get(timeout=5) for _ in curls]
        assert sorted(paths) == ["/200", "/404", "/500"]
        assert {path: headers["x-b3-spanid"] for path, headers in upstream.received} == {
            span.tags["http.path"]: span.span_id for span in spans
        }
        assert all(span.tags["http.path"] == f"/{span.tags['http.status_code']}" for span in spans)

    @pytest.mark.parametrize("end", ["remove", "close", "drop"])
    def test_a_transfer_that_is_broken_off_ends_its_span(self, end: str) -> None:
        multi = pycurl.CurlMulti()
        with self.upstream() as upstream:
            curl = self.handle(self._url + "/silence", len)
            multi.add_handle(curl)
            while not upstream.asked.is_set():
                multi.perform()
                multi.select(0.01)
            self.recorder.assert_empty()
            if end == "remove":
                multi.remove_handle(curl)
            elif end == "close":
                curl.close()
            else:
                del multi, curl
                gc.collect()
            self.recorder.take(CLIENT)


def steps(multi: Any, chunks: deque[bytes]) -> Iterator[bytes]:
    """Drive ``multi`` until its transfers are over; give the chunks that come meanwhile, raise what fails."""
    running = 1
    while running or chunks:
        if chunks:
            yield chunks.popleft()
            continue
        _, running = multi.perform()
        if running and not chunks:
            multi.select(0.01)
        _, _, broken = multi.info_read()
        for _, *reason in broken:
            yield from chunks
            raise pycurl.error(*reason)
