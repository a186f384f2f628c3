"""When a span ends: with the body of its response, however that is read, closed or dropped."""

from __future__ import annotations

import gc
import warnings

import pytest

from obskit.testing.client_cases.calls import CLIENT, HttpClientCalls
from obskit.tracing.current import current_span


class BodyCases(HttpClientCalls):
    """The body of a response is the caller's, and its end is the span's."""

    def test_span_covers_a_streamed_body(self) -> None:
        """The span ends when the body is over, though it is not current meanwhile."""
        with self.upstream() as upstream:
            with self.stream(self._url + "/stream") as chunks:
                assert next(chunks) == b"first"
                self.recorder.assert_empty()
                assert not current_span().is_recording()
                upstream.go_on.set()
                assert next(chunks) == b"after"
            self.recorder.take(CLIENT)

    def test_nothing_is_current_while_a_body_is_read(self) -> None:
        """The program's work between two chunks is not below the call."""
        with self.upstream() as upstream, self.stream(self._url + "/stream") as chunks:
            for _ in chunks:
                assert current_span().span_id is None
                upstream.go_on.set()
        self.recorder.take(CLIENT)

    def test_abandoned_body_ends_the_span(self) -> None:
        """Closing a response that was not read to its end ends the span."""
        with self.upstream() as upstream:
            with self.stream(self._url + "/stream") as chunks:
                assert next(chunks) == b"first"
            upstream.go_on.set()
            self.recorder.take(CLIENT)

    def test_response_without_a_body_ends_the_span(self) -> None:
        """204 and 304 have no body to wait for."""
        with self.upstream():
            for status in (204, 304):
                assert self.fetch(f"/{status}") == status
                assert self.recorder.take(CLIENT).tags["http.status_code"] == str(status)

    @pytest.mark.parametrize("kind", ["chunked", "gzip"])
    def test_encoded_body_ends_the_span(self, kind: str) -> None:
        """Neither transfer nor content encoding hides the end of a body."""
        with self.upstream():
            assert self.fetch(f"/{kind}") == 200
            self.recorder.take(CLIENT)

    @pytest.mark.parametrize(("path", "body"), [("/chunked", b"firstafter"), ("/a", b"hello")])
    def test_body_of_the_response_is_unchanged(self, path: str, body: bytes) -> None:
        """The caller gets all of it, and nothing else."""
        with self.upstream():
            assert self.request("GET", self._url + path) == body
            self.recorder.take(CLIENT)

    def test_body_that_breaks_off_is_an_error(self) -> None:
        """The library's exception reaches the caller, and the span says what it was."""
        self._break_off("/broken")

    def test_body_shorter_than_announced_is_an_error(self) -> None:
        """The same where only Content-Length shows that something is missing."""
        self._break_off("/short")

    def _break_off(self, path: str) -> None:
        with self.upstream(), pytest.raises(self.body_error), self.stream(self._url + path) as chunks:
            list(chunks)
        span = self.recorder.take(CLIENT, error="")
        assert span.tags["http.status_code"] == "200"

    def test_failure_of_the_caller_while_reading_is_not_the_spans(self) -> None:
        """An exception that the application raises between two chunks is not an error of the call."""
        with self.upstream() as upstream:
            with pytest.raises(OSError, match="mine"):
                self._fail_while_reading()
            upstream.go_on.set()
            self.recorder.take(CLIENT)

    def _fail_while_reading(self) -> None:
        with self.stream(self._url + "/stream") as chunks:
            next(chunks)
            raise OSError("mine")

    def test_dropped_response_ends_the_span_and_the_connection_as_ever(self) -> None:
        """With the same warnings, and without a garbage collection if that is how it is without us."""
        traced = self._drop()
        self.recorder.take(CLIENT)
        self.uninstall()
        assert self._drop() == traced

    def _drop(self) -> list[type[Warning]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what earlier tests left: old http.client does not close refused tunnels
            gc.collect()
        with self.upstream() as upstream, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.disable()
            try:
                self.drop(self._url + "/watched")
                assert upstream.client_left.wait(10 * self.closes_when_dropped) == self.closes_when_dropped
            finally:
                gc.enable()
            gc.collect()
            assert upstream.client_left.wait(10)
        return [warning.category for warning in caught]
