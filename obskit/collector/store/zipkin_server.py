"""A Zipkin server as storage: traces are read from it, so that the pages work over any of its storage backends.

Its answers are also kept in memory: pages that need more than Zipkin's API offers (requests by duration, health
numbers) show the traces that were read before. Spans sent to the collector are passed on to the server.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

import msgspec

from obskit.collector.deadline import SEARCH_TIMEOUT, Deadline
from obskit.collector.links import Link
from obskit.collector.query import TraceQuery
from obskit.collector.store.database import StoreError
from obskit.collector.store.requests import Found, Requests, Wanted
from obskit.collector.store.spans import SpanStore
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.json_v2 import encode_list, join_encoded
from obskit.zipkin.json_v2_fast import read_list
from obskit.zipkin.model import ZERO_ID, Span, sendable

SCHEMES = ("zipkin+http", "zipkin+https")
_LARGEST = 256 * 1024 * 1024  # bytes of an answer
_REQUESTS = 1_000  # traces read for a page that shows all requests of a window
_LONGEST = 7 * 86_400_000  # milliseconds: some backends read one index for each day
_FUTURE = 60_000  # milliseconds by which clocks may differ
_MILLISECOND = 1_000  # microseconds
_T = TypeVar("_T")


class ZipkinStore(SpanStore):
    """The spans of the server at ``url`` (``zipkin+http://HOST:PORT``). Methods raise StoreError if it fails.

    The constructor raises ValueError for a bad URL.
    """

    def __init__(self, url: str, max_spans: int, max_bytes: int, *, strict_trace_id: bool = True) -> None:
        self._server = _Server(url)
        super().__init__(None, max_spans, max_bytes, strict_trace_id=strict_trace_id)
        self.name = self._server.name
        self.requests = _ReadRequests(self)

    @staticmethod
    def address(url: str) -> str:
        """Return the server's address without a password. Raises ValueError."""
        return _Server(url).name

    def check(self) -> None:
        """Raise StoreError if the server does not answer, or reports that it is unhealthy."""
        self._server.get("/health")

    def add(self, spans: Sequence[Span], lines: Sequence[bytes] | None = None) -> None:
        """Pass spans on to the server."""
        is_known = lines is not None and all(span.id != ZERO_ID for span in spans)
        self._server.post(join_encoded(list(lines or ())) if is_known else encode_list(sendable(spans)))

    def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace as the server has them; empty if it has none."""
        body = self._server.get(f"/api/v2/trace/{quote(trace_id)}", missing=b"[]")
        return self._keep(_spans(body))

    def search(self, query: TraceQuery, deadline: Deadline) -> Iterator[list[Span]]:
        """Yield the traces that the server returns, in its order."""
        body = self._server.get(f"/api/v2/traces?{_params(query)}")
        for trace in _decoded(body, list[msgspec.Raw]):
            deadline.check()
            yield self._keep(_spans(bytes(trace)))

    def links(self, query: TraceQuery, deadline: Deadline) -> list[Link]:
        """Return which service calls which, as counted by the server."""
        deadline.check()
        window = urlencode({"endTs": query.end_ts, "lookback": query.lookback})
        return _decoded(self._server.get(f"/api/v2/dependencies?{window}"), list[Link])

    def service_names(self) -> list[str]:
        """Return the local services, sorted."""
        return self._listed("services")

    def span_names(self, service: str) -> list[str]:
        """Return the names of the spans of a local service, sorted."""
        return self._listed("spans", serviceName=service)

    def remote_service_names(self, service: str) -> list[str]:
        """Return the remote services of the spans of a local service, sorted."""
        return self._listed("remoteServices", serviceName=service)

    def tag_values(self, key: str) -> list[str]:
        """Return the values of one of the server's autocomplete tags, sorted."""
        return self._listed("autocompleteValues", key=key)

    def _listed(self, what: str, **params: str) -> list[str]:
        return _decoded(self._server.get(f"/api/v2/{what}?{urlencode(params)}"), list[str])

    def _keep(self, spans: list[Span]) -> list[Span]:
        if spans:
            super().add(spans)
        return spans


class _ReadRequests(Requests):
    """The requests of a server's newest traces in a window, and of the traces that were read before."""

    def __init__(self, store: ZipkinStore) -> None:
        super().__init__(store._reader)
        self._store = store

    def find(self, wanted: Wanted, deadline: Deadline) -> Found:
        """Return the requests, those of the newest blocks first. Raises Stopped at the deadline."""
        last = min(wanted.last // _MILLISECOND + 1, int(time.time() * 1_000) + _FUTURE)
        query = TraceQuery(
            end_ts=last,
            lookback=min(max(last - wanted.first // _MILLISECOND, 1), _LONGEST),
            limit=_REQUESTS,
            service=wanted.service,
            span_name=wanted.name,
            min_duration=wanted.shortest or None,
            max_duration=wanted.longest if wanted.shortest else None,
        )
        for _ in self._store.search(query, deadline):
            pass
        return super().find(wanted, deadline)


class _Server:
    """HTTP requests to a server, each on its own connection. All methods raise StoreError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.removeprefix("zipkin+"))
        if not _names_server(parts):
            raise ValueError("storage is no server's address; write zipkin+http://HOST:PORT, without a path")
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._parts = parts
        self._headers = {"b3": "0", "user-agent": "obskit-collector"}  # b3: not to be traced by a mesh
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["authorization"] = "Basic " + base64.b64encode(user.encode()).decode()

    def get(self, path: str, missing: bytes | None = None) -> bytes:
        """Return the body of the answer; ``missing`` if the status is 404."""
        status, body = self._request("GET", path)
        if status == 404 and missing is not None:
            return missing
        if status != 200:
            raise StoreError(f"{self.name}{path} answered {status}: {body[:200].decode('utf-8', 'replace').strip()}")
        return body

    def post(self, body: bytes) -> None:
        """Send spans in JSON."""
        status, said = self._request("POST", "/api/v2/spans", body, {"content-type": "application/json"})
        if status != 202:
            raise StoreError(f"{self.name} answered {status}: {said[:200].decode('utf-8', 'replace').strip()}")

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, path, body, {**self._headers, **(headers or {})})
            answer = connection.getresponse()
            said = answer.read(_LARGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"{self.name} did not answer: {error or type(error).__name__}") from None
        finally:
            connection.close()
        if len(said) > _LARGEST:
            raise StoreError(f"{self.name} answered with over {_LARGEST} bytes; ask for fewer traces or less time")
        return answer.status, said

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=SEARCH_TIMEOUT, context=context)
        return http.client.HTTPConnection(host, port, timeout=SEARCH_TIMEOUT)


def _names_server(parts: SplitResult) -> bool:
    try:
        return bool(parts.hostname) and parts.port != 0 and parts.path in {"", "/"} and not parts.query
    except ValueError:  # the port is not a number
        return False


def _params(query: TraceQuery) -> str:
    annotations = " and ".join(f"{key}={value}" if value else key for key, value in query.annotations.items())
    values: dict[str, Iterable[str] | str | int | None] = {
        "serviceName": query.service,
        "remoteServiceName": query.remote_service,
        "spanName": query.span_name,
        "annotationQuery": annotations,
        "minDuration": query.min_duration,
        "maxDuration": query.max_duration,
        "endTs": query.end_ts,
        "lookback": query.lookback,
        "limit": query.limit,
    }
    return urlencode({name: value for name, value in values.items() if value})


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise StoreError(f"the server's answer is not Zipkin's: {error}") from None


def _spans(body: bytes) -> list[Span]:
    try:
        return read_list(body)[0]
    except DecodeError as error:
        raise StoreError(f"the server's answer is not Zipkin's: {error}") from None
