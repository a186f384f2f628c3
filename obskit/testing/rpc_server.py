"""A gRPC server for tests, and the client of tests: messages are bytes, so that nothing has to be generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

SHOP = "/obskit.testing.Shop"
"""The service of tests: Item takes and gives one message, Stream gives and Upload takes several, Chat does both."""

Handler = Callable[..., Any]


def shop_handlers(item: Handler, stream: Handler, upload: Handler, chat: Handler) -> grpc.GenericRpcHandler:
    """Return what a gRPC server, sync or asyncio, needs to serve the shop."""
    return grpc.method_handlers_generic_handler(
        SHOP[1:],
        {
            "Item": grpc.unary_unary_rpc_method_handler(item),
            "Stream": grpc.unary_stream_rpc_method_handler(stream),
            "Upload": grpc.stream_unary_rpc_method_handler(upload),
            "Chat": grpc.stream_stream_rpc_method_handler(chat),
        },
    )


@contextmanager
def rpc_server(item: Handler, stream: Handler, upload: Handler, chat: Handler, **options: Any) -> Iterator[str]:
    """Serve the shop on a port of loopback; give its address."""
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, **options)
    server.add_generic_rpc_handlers((shop_handlers(item, stream, upload, chat),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0.2).wait()
        pool.shutdown()
