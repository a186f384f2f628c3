"""What tracing adds to one unary gRPC call, for the process that makes it and for the one that serves it.

The other side of each call is another process, which nobody traces.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import getrandbits
from typing import Any

from clocks import FOREGROUND, Block, Figures, timed
from sides import BARE, OBSKIT, PEER, Delivery, start_obskit, start_peer

CLIENT, SERVER = "client", "server"
CALLS = 200
_METHOD = "/bench.Orders/Get"
_SAMPLED = ("x-b3-sampled", "1")


def _b3() -> list[Any]:
    """Return what the untraced side sends by itself: gRPC takes as long for three entries as ours for all the rest."""
    return [
        (("x-b3-traceid", f"{getrandbits(128):032x}"), ("x-b3-spanid", f"{getrandbits(64):016x}"), _SAMPLED)
        for _ in range(CALLS)
    ]


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what makes a block of calls, or serves one, and checks that a span arrived for each."""
    flush = start_obskit(f"{receiver}/{OBSKIT}")
    peer = start_peer(f"{receiver}/{PEER}")
    blocks = _clients(peer) if variant == CLIENT else _servers(peer)
    return {
        BARE: blocks[BARE](lambda: True, None),
        OBSKIT: blocks[OBSKIT](flush, Delivery(OBSKIT, receiver)),
        PEER: blocks[PEER](peer.force_flush, Delivery(PEER, receiver)),
    }


Settle = Callable[[], object]
Make = Callable[[Settle, Delivery | None], Block]


def _module(name: str) -> Any:
    """Return a module of gRPC's that is nobody else's: ours patches it, and code that runs patched or not in turn is
    never specialised by CPython.
    """
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _clients(peer: Any) -> dict[str, Make]:
    from opentelemetry.instrumentation.grpc import client_interceptor
    from opentelemetry.instrumentation.grpc.grpcext import intercept_channel

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.grpc_client import install

    address = f"127.0.0.1:{_other('serve').stdout.readline().strip()}"
    bare, ours, theirs = (_module("grpc._channel") for _ in range(3))
    install(ours, Patches())
    channels = {BARE: bare, OBSKIT: ours, PEER: theirs}
    opened = {side: module.Channel(address, (), None, None) for side, module in channels.items()}
    opened[PEER] = intercept_channel(opened[PEER], client_interceptor(tracer_provider=peer))
    return {side: _calling(channel, _b3() if side is BARE else [None] * CALLS) for side, channel in opened.items()}


def _calling(channel: Any, metadata: Any) -> Make:
    get = channel.unary_unary(_METHOD)

    def work() -> None:
        for each in metadata:
            assert get(b"7", timeout=10, metadata=each) == b"7"

    def make(settle: Settle, delivery: Delivery | None) -> Block:
        return lambda: _checked(timed(CALLS, work, settle), delivery)

    return make


def _servers(peer: Any) -> dict[str, Make]:
    from opentelemetry.instrumentation.grpc import server_interceptor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.grpc_server import install

    bare, ours, theirs = (_module("grpc._server") for _ in range(3))
    install(ours, Patches())
    return {
        BARE: _serving(bare),
        OBSKIT: _serving(ours),
        PEER: _serving(theirs, server_interceptor(tracer_provider=peer)),
    }


def _serving(module: Any, *interceptors: Any) -> Make:
    server, port = _server(module, *interceptors)
    caller = _other("call", str(port))

    def work() -> None:
        print(CALLS, file=caller.stdin, flush=True)
        assert caller.stdout.readline() == "done\n"

    def make(settle: Settle, delivery: Delivery | None) -> Block:
        def block() -> Figures:
            assert server  # which is stopped when it is forgotten
            figures = timed(CALLS, work, settle)
            del figures[FOREGROUND]  # which waits
            return _checked(figures, delivery)

        return block

    return make


def _checked(figures: Figures, delivery: Delivery | None) -> Figures:
    if delivery is not None:
        delivery.check(CALLS)
    return figures


def _server(module: Any, *interceptors: Any) -> tuple[Any, int]:
    import grpc

    handler = grpc.unary_unary_rpc_method_handler(lambda request, _context: request)
    server = module.create_server(ThreadPoolExecutor(4), (), interceptors, (), None, None, False)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Orders", {"Get": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def _other(*arguments: str) -> Any:
    """Run this file as the process on the other side; it ends when this one does, with its standard input."""
    command = [sys.executable, Path(__file__), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main(what: str, port: str = "") -> None:
    """Serve, or make as many calls as each line says."""
    if what == "serve":
        server, found = _server(_module("grpc._server"))
        print(found, flush=True)
        sys.stdin.read()
        server.stop(None)
        return
    import grpc

    get = grpc.insecure_channel(f"127.0.0.1:{port}").unary_unary(_METHOD)
    for line in sys.stdin:
        for _ in range(int(line)):
            get(b"7", timeout=10)
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
