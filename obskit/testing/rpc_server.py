"""A gRPC server and client for tests. Messages are bytes, so that no code has to be generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

SHOP = "/obskit.testing.Shop"
"""The test service: Item is unary, Stream sends and Upload receives a stream, Chat does both."""

Handler = Callable[..., Any]


def shop_handlers(item: Handler, stream: Handler, upload: Handler, chat: Handler) -> grpc.GenericRpcHandler:
    """Return the handlers with which a gRPC server, sync or asyncio, serves the shop."""
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
    """Serve the shop on a loopback port; yield its address."""
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
