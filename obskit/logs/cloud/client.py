"""Google's client for Cloud Logging. Only this module imports google, and only the worker thread imports this module.

The client's retries and its unbounded queue are not used: each call is one attempt with a timeout. Credentials are
refreshed on the calling thread and passed with each call: gRPC's own way starts a thread for every call, which fails
once the interpreter is shutting down.
"""

from __future__ import annotations

import json
from time import monotonic
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud.logging_v2 import Client
from google.protobuf.json_format import ParseError

from obskit.base.values import one_line
from obskit.export.delivery.exporter import UNREACHABLE, Outcome
from obskit.export.gcp.account import Account, Failed
from obskit.export.gcp.endpoint import ApiEndpoint
from obskit.export.net.http_client import HttpClient, Unreachable

_REASONS = {
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    429: "resource_exhausted",
    503: "unavailable",
    504: "deadline_exceeded",
}
_RETRY = frozenset([401, 408, 409, 425, 429, 499, 500, 502, 503, 504])
_MOST_READ = 1024 * 1024
_INVALID = frozenset([400, 413])
_PARTIAL_ERRORS = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"


class Refused(Exception):
    """The API has refused a request. ``entries`` are the indexes of the entries at fault; empty if it names none.

    If it names some, it has accepted the others.
    """

    def __init__(self, detail: str, entries: frozenset[int] = frozenset()) -> None:
        super().__init__(detail)
        self.entries = entries


class EntryWriter:
    """Writes to the API with one account's credentials. Not thread-safe."""

    def __init__(self, endpoint: ApiEndpoint, account: Account) -> None:
        self._account = account
        self._transport: _Transport = _Grpc(endpoint) if endpoint.grpc else _Rest(endpoint)

    def write(self, request: dict[str, Any], timeout: float) -> None:
        """Make one attempt, of at most ``timeout`` seconds, to send a WriteLogEntriesRequest given in JSON form.

        Raises Refused, or Failed.
        """
        ends = monotonic() + timeout
        headers = self._account.headers(timeout)
        try:
            self._transport.write(request, headers, max(0.001, ends - monotonic()))
        except Exception as error:
            if getattr(error, "code", None) == 401:
                self._account.expire()
            raise _explained(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class _Transport(Protocol):
    def write(self, request: dict[str, Any], headers: dict[str, str], timeout: float) -> None: ...

    def close(self) -> None: ...


class _Rest:
    """JSON over HTTP/1.1: starts no threads, and survives forks."""

    def __init__(self, endpoint: ApiEndpoint) -> None:
        self._connection = _Connection(endpoint.address)
        anonymous: Any = AnonymousCredentials
        client: Any = Client
        self._client = client(
            project="-",  # each request has its own host
            credentials=anonymous(),
            _http=self._connection,
            _use_grpc=False,
            client_options={"api_endpoint": endpoint.address},
        )

    def write(self, request: dict[str, Any], headers: dict[str, str], timeout: float) -> None:
        self._client.logging_api.api_request(
            method="POST",
            path="/entries:write",
            data=msgspec.json.encode(request),
            content_type="application/json",
            headers=headers,
            timeout=timeout,
        )

    def close(self) -> None:
        self._connection.close()


class _Connection:
    """obskit's HTTP client in the form of the requests session that Google's client expects; see export/net/wire.py."""

    def __init__(self, address: str) -> None:
        self._client = HttpClient(address)
        self.close = self._client.close

    def request(self, method: str, url: str, headers: dict[str, str], data: bytes, timeout: float) -> Any:
        """Make a request. Raises Unreachable."""
        kept = {name: value for name, value in headers.items() if name != "Accept-Encoding"}
        answer = self._client.exchange(method, urlsplit(url).path, data, kept, monotonic() + timeout, _MOST_READ)
        return SimpleNamespace(
            status_code=answer.status,
            headers=answer.headers,
            content=answer.body,
            text=answer.body.decode("utf-8", "replace"),
            json=lambda: json.loads(answer.body),
            request=SimpleNamespace(method=method, url=url),
        )


class _Grpc:
    """gRPC over TLS."""

    def __init__(self, endpoint: ApiEndpoint) -> None:
        import grpc
        from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client, transports

        self._channel = grpc.secure_channel(endpoint.address, grpc.ssl_channel_credentials())
        transport = transports.LoggingServiceV2GrpcTransport(channel=self._channel)
        self._client = LoggingServiceV2Client(transport=transport)
        _channels.append(self._channel)

    def write(self, request: dict[str, Any], headers: dict[str, str], timeout: float) -> None:
        from google.cloud.logging_v2.types import WriteLogEntriesRequest
        from google.protobuf.json_format import ParseDict

        message = WriteLogEntriesRequest()
        ParseDict(request, WriteLogEntriesRequest.pb(message), ignore_unknown_fields=True)
        metadata = [(key.lower(), value) for key, value in headers.items()]
        self._client.write_log_entries(request=message, retry=None, timeout=timeout, metadata=metadata)

    def close(self) -> None:
        _channels.remove(self._channel)
        self._channel.close()


_channels: list[Any] = []
"""Channels of the parent, kept alive in a forked child: closing one needs gRPC's threads, which the child lacks."""


def _explained(error: Exception) -> Refused | Failed:
    """Return Refused or Failed for an exception of Google's client; raise any other exception again."""
    if isinstance(error, GoogleAPICallError):
        code = int(error.code or 0)
        detail = f"{code} {one_line(error.message)}"
        if code in _INVALID:
            return Refused(detail, _places(error))
        return Failed(Outcome(_REASONS.get(code, f"http_{code}"), detail, code in _RETRY))
    if isinstance(error, ParseError):
        return Refused(one_line(error))
    if isinstance(error, Unreachable):
        return Failed(Outcome(UNREACHABLE, one_line(error), retry=True))
    raise error


def _places(error: GoogleAPICallError) -> frozenset[int]:
    """Return the indexes of the entries at fault, from an error's WriteLogEntriesPartialErrors."""
    for detail in error.details or ():
        if isinstance(detail, dict) and detail.get("@type") == _PARTIAL_ERRORS:
            return frozenset(int(place) for place in detail.get("logEntryErrors", ()))
        if getattr(detail, "type_url", "") == _PARTIAL_ERRORS:
            from google.cloud.logging_v2.types import WriteLogEntriesPartialErrors

            return frozenset(WriteLogEntriesPartialErrors.deserialize(detail.value).log_entry_errors)
    return frozenset()
