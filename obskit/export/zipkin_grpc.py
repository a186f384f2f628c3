"""Zipkin over gRPC: ``zipkin.proto3.SpanService/Report``."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from obskit.export.exporter import Outcome
from obskit.export.zipkin_span import Convert
from obskit.zipkin.proto3_encode import encode_span

if TYPE_CHECKING:
    from obskit.export.grpc_call import Caller

_METHOD = "/zipkin.proto3.SpanService/Report"
_NOT_INSTALLED = Outcome("not_installed", "grpcio is missing: pip install 'obskit[grpc]'")


class ZipkinGrpcExporter:
    """Reports spans to a Zipkin server. It wants to be built where a fork waits: grpcio is imported then."""

    batch_items = 10_000
    batch_bytes = 500_000  # as over HTTP: an eighth of what a gRPC server takes by default

    def __init__(self, address: str, tls: bool, convert: Convert) -> None:
        self._convert = convert
        self._caller: Caller | None = None
        self._refusal = _NOT_INSTALLED
        try:
            from obskit.export.grpc_call import Caller

            self._caller = Caller(address, tls, _METHOD)
        except ImportError as error:
            self._refusal = _NOT_INSTALLED._replace(detail=f"{_NOT_INSTALLED.detail} ({error})")

    def encode(self, span: Any) -> bytes:
        """Return the span as it stands in a list."""
        return encode_span(self._convert(span))

    def size(self, item: bytes) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Report the spans in one message."""
        if self._caller is None:
            return self._refusal
        return self._caller.call(b"".join(items), max(0.001, deadline - monotonic()))

    def close(self) -> None:
        """Close the connection."""
        if self._caller is not None:
            self._caller.close()
