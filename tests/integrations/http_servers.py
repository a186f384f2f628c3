"""More cases for servers, and what tests of several frameworks share."""

from __future__ import annotations

from obskit.instrumentation.server_exchange import on_finish
from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER


class Switched:
    """Instrumentation without patching, such as a middleware: ``serve`` looks at ``traced`` for each request."""

    traced = False

    def install(self) -> None:
        self.traced = True

    def uninstall(self) -> None:
        self.traced = False


class RequestLogCases(HttpServerContract):
    """For frameworks whose responses obskit watches by other means than a body's iterator."""

    def test_request_log_has_status_and_size(self) -> None:
        seen: list[tuple[int, int | None]] = []
        on_finish(lambda exchange: seen.append((exchange.status, exchange.size)))
        try:
            with self.site():
                self.get("/items/same")
                self.recorder.take(SERVER)
        finally:
            on_finish(None)
        assert seen == [(200, 4)]
