"""Spans over gRPC: ``zipkin.proto3.SpanService/Report``, with bytes as they are and no generated code.

Source: ``zipkin.proto`` (openzipkin/zipkin-api), and zipkin-server 3.6.1 with ``COLLECTOR_GRPC_ENABLED``. It has a
port of its own, since HTTP/2 is not spoken on the other one, and no TLS.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from obskit.base.told_losses import TAKES, TAKES_ALL
from obskit.collector.intake.zipkin import MAX_BODY, PROTO3, Reception, Rejected
from obskit.collector.security import Token
from obskit.collector.store.database import StoreError

if TYPE_CHECKING:
    import grpc

_AT_ONCE = 16  # messages that are received at once; the calls of others wait, with their headers alone
_SLOW = 1.0  # seconds: where all of these places are taken, a message that takes longer makes room for others
_MESSAGE_TIMEOUT = 30.0  # seconds that a message has where nobody waits for its place
_LOOK = 0.1  # seconds between two looks at the messages that are coming
_MOST_CONNECTIONS = 1_000
_MOST_CALLS = 1_000
_MOST_CALLS_OF_CONNECTION = 100
_HANDSHAKE = 10_000  # ms from the opening of a connection to its first HTTP/2 frame
_CONNECTION_AGE = 30_000  # ms: a client connects anew now and then...
_LONGEST_CALL = 30_000  # ms: ...and has so long for the call under way, so that one that hardly sends is shown out
_STOP_TIMEOUT = 2.0  # seconds
_CODES = {400: "INVALID_ARGUMENT", 413: "RESOURCE_EXHAUSTED"}


class GrpcIntake:
    """A gRPC server at ``host`` and ``port``; 0 takes a free one. Raises ImportError without grpcio."""

    transport = "grpc"

    def __init__(self, host: str, port: int, token: str | None = None) -> None:
        try:
            import grpc
        except ModuleNotFoundError as error:
            raise ImportError("spans over gRPC need grpcio; run: pip install 'obskit[grpc]'") from error
        self.host = host
        self.port = port
        self._token = Token(token)
        self._grpc = grpc
        self._server: grpc.Server | None = None
        self._coming = _Coming()

    def __str__(self) -> str:
        return f"gRPC on {_address(self.host, self.port)}"

    def source(self) -> None:
        """Return None: clients send to it."""

    def start(self, reception: Reception) -> None:
        """Listen. Raises OSError when the port cannot be bound."""
        self._reception = reception
        report: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            # As a stream, which it is not: a call is seen here before its message is.
            "Report": self._grpc.stream_unary_rpc_method_handler(self._report)
        }
        self._server = self._grpc.server(
            ThreadPoolExecutor(_AT_ONCE, "obskit-grpc"),
            handlers=[self._grpc.method_handlers_generic_handler("zipkin.proto3.SpanService", report)],
            options=_options(),
            maximum_concurrent_rpcs=_MOST_CALLS,
        )
        try:
            self.port = self._server.add_insecure_port(_address(self.host, self.port))
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, str(error)) from None
        self._server.start()
        self._coming.start()

    def close(self) -> None:
        """Finish the calls under way, for a moment at most."""
        if self._server is not None:
            self._server.stop(_STOP_TIMEOUT).wait()
        self._coming.stop()

    def _report(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Answer a message once its spans are stored."""
        context.set_trailing_metadata(((TAKES, TAKES_ALL),))
        metadata = dict(context.invocation_metadata())
        if not self._token.is_in(str(metadata.get("authorization", ""))):
            self._refuse(context, "UNAUTHENTICATED", "send the token as metadata, authorization: Bearer TOKEN")
        with self._coming.awaited(context):
            body = next(messages, None)
        if body is None:
            self._refuse(context, "INVALID_ARGUMENT", "the call has no message")
        try:
            self._reception.take(PROTO3.decode, body, {name: str(value) for name, value in metadata.items()})
        except Rejected as error:
            self._refuse(context, _CODES[error.status], error.reason)
        except StoreError as error:
            self._refuse(context, "UNAVAILABLE", f"storage failed: {error}")
        return b""

    def _refuse(self, context: grpc.ServicerContext, code: str, reason: str) -> NoReturn:
        context.abort(self._grpc.StatusCode[code], reason)
        raise AssertionError("abort raises")


class _Coming:
    """The calls whose messages are being received, of which the slow ones are cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began: dict[grpc.ServicerContext, float] = {}  # oldest first
        self._end = threading.Event()

    def start(self) -> None:
        """Begin to look at them."""
        threading.Thread(target=self._watch, name="obskit-grpc-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._end.set()

    @contextmanager
    def awaited(self, call: grpc.ServicerContext) -> Iterator[None]:
        """Within the block, a call waits for its message."""
        with self._lock:
            self._began[call] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._began[call]

    def _watch(self) -> None:
        while not self._end.wait(_LOOK):
            if call := self._late():
                call.cancel()

    def _late(self) -> grpc.ServicerContext | None:
        """Return the call that has waited longest, if that is too long."""
        with self._lock:
            patience = _SLOW if len(self._began) >= _AT_ONCE else _MESSAGE_TIMEOUT
            call, began = next(iter(self._began.items()), (None, 0.0))
        return call if time.monotonic() - began > patience else None


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MAX_BODY),
        ("grpc.max_allowed_incoming_connections", _MOST_CONNECTIONS),
        ("grpc.max_concurrent_streams", _MOST_CALLS_OF_CONNECTION),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE),
        ("grpc.max_connection_age_ms", _CONNECTION_AGE),
        ("grpc.max_connection_age_grace_ms", _LONGEST_CALL),
        ("grpc.so_reuseport", 0),  # or a second collector would share the port, and half of the spans
    ]


def _address(host: str, port: int) -> str:
    host = host or "0.0.0.0"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
