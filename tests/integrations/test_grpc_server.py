"""grpc's server with a pool of threads."""

from __future__ import annotations

from contextlib import AbstractContextManager

import grpc

from obskit.testing import RpcServerContract
from obskit.testing.rpc_server import rpc_server
from obskit.testing.rpc_server_contract import Shop


def handlers(shop: Shop):
    """The shop behind plain functions and generators."""

    def item(request, context):
        code, text = shop.item(request)
        if code != "OK":
            context.abort(grpc.StatusCode[code], text)
            raise AssertionError("abort has returned, as in the pool of an older grpc.aio")
        return text.encode()

    def stream(request, context):
        return shop.stream()

    def upload(requests, context):
        return b" ".join(map(shop.answer, requests))

    def chat(requests, context):
        yield from map(shop.answer, requests)

    return item, stream, upload, chat


class TestGrpcServer(RpcServerContract):
    """Plain functions."""

    integration = "grpc_server"
    options = {}

    def serve(self, shop: Shop) -> AbstractContextManager[str]:
        return rpc_server(*handlers(shop), **self.options)
