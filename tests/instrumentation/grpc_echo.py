"""A traced gRPC server that answers every method with its request."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.integrations import install


class _Echo(grpc.GenericRpcHandler):
    def service(self, _):
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


@contextmanager
def traced_echo() -> Iterator[grpc.Channel]:
    """Instrument and run the server for the length of the block; yield a channel to it."""
    patches, hooks = Patches(), ImportHooks()
    install(["grpc_server"], hooks, patches)
    server = grpc.server(ThreadPoolExecutor(2), handlers=[_Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        server.stop(None).wait()
        hooks.remove()
        patches.remove()
