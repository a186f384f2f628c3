"""A gRPC server with ``zipkin.proto3.SpanService`` that answers as told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from obskit.zipkin.model import Span
from obskit.zipkin.proto3_decode import decode_list

Answer = Callable[[grpc.ServicerContext], None]


class GrpcReceiver:
    """Holds every message, in order, and the metadata it came with."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.answers = list(answers)
        self.messages: list[bytes] = []
        self.metadata: list[dict[str, Any]] = []
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Span]:
        return [span for message in list(self.messages) for span in decode_list(message)]

    @property
    def names(self) -> Counter[str | None]:
        return Counter(span.name for span in self.spans)

    def report(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self.messages.append(message)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.answers:
            self.answers.pop(0)(context)
        return b""


def status(code: grpc.StatusCode) -> Answer:
    return lambda context: context.abort(code, "as told")


@contextmanager
def grpc_receiver(
    *answers: Answer, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> Iterator[GrpcReceiver]:
    """Listen; the first calls are answered by ``answers``, the others with success."""
    found = GrpcReceiver(answers)
    report = {"Report": grpc.unary_unary_rpc_method_handler(found.report)}
    handler = grpc.method_handlers_generic_handler("zipkin.proto3.SpanService", report)
    server = grpc.server(ThreadPoolExecutor(8), handlers=[handler])
    if credentials is None:
        found.port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        found.port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    try:
        yield found
    finally:
        server.stop(None).wait()
