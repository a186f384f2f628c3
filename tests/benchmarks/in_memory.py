"""What clients connect to in place of a socket: it answers each request at once, in this process.

What a socket and a server take varies by more than what tracing adds. The clients' own code runs whole, down to the
bytes that they send and read.
"""

from __future__ import annotations

import asyncio
import io
from itertools import count
from typing import Any

_numbers = count()
TEXT = "an order"
_ANSWER = (
    "HTTP/1.1 200 OK\r\nServer: orders\r\nDate: Fri, 27 Nov 2026 10:00:00 GMT\r\n"
    f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(TEXT)}\r\n\r\n{TEXT}"
).encode()


def new_url() -> str:
    """Return a URL that nobody has called: what is known of a whole URL helps few programs."""
    return f"http://orders.internal:8080/orders/{next(_numbers)}"


def _answered(request: Any) -> bytes:
    """Return the answer to a request, which has to carry a trace."""
    assert b"x-b3-traceid: " in bytes(request).lower(), bytes(request)
    return _ANSWER


def urllib3_pools() -> tuple[type, type]:
    """Return a connection pool of urllib3, and one for TLS, of classes that are nobody else's."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection

    class Socket:
        def sendall(self, data: bytes) -> None:
            self._answer = _answered(data)

        def makefile(self, _mode: str) -> io.BufferedReader:
            return io.BufferedReader(io.BytesIO(self._answer))  # type: ignore[arg-type]

        def settimeout(self, seconds: float | None) -> None: ...

        def close(self) -> None: ...

    class Connection(HTTPConnection):
        def _new_conn(self) -> Any:
            return Socket()

        @property
        def is_connected(self) -> bool:
            return self.sock is not None

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool): ...

    return Pool, TlsPool


def httpx_transport() -> Any:
    """Return what ``httpx.Client`` sends by, above a network of ours."""
    import httpcore
    import httpx

    class Stream(httpcore.NetworkStream):
        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if buffer:  # there is no body
                self._answer = _answered(buffer)

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return self._answer

        def close(self) -> None: ...

    class Network(httpcore.NetworkBackend):
        def connect_tcp(self, *_: Any, **__: Any) -> Stream:
            return Stream()

    transport = httpx.HTTPTransport(trust_env=False)
    transport._pool = httpcore.ConnectionPool(network_backend=Network())
    return transport


def httpx_async_transport() -> Any:
    """Return the same for ``httpx.AsyncClient``, whose answers come with the event loop's next turn."""
    import httpcore
    import httpx

    class Stream(httpcore.AsyncNetworkStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if buffer:  # there is no body
                self._answer = _answered(buffer)

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            await asyncio.sleep(0)
            return self._answer

        async def aclose(self) -> None: ...

    class Network(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *_: Any, **__: Any) -> Stream:
            return Stream()

    transport = httpx.AsyncHTTPTransport(trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(network_backend=Network())
    return transport


def aiohttp_connector() -> type:
    """Return a connector of aiohttp, of a class that is nobody else's. Answers come with the loop's next turn."""
    import aiohttp

    class Transport(asyncio.Transport):
        def write(self, data: Any) -> None:
            asyncio.get_running_loop().call_soon(self.get_protocol().data_received, _answered(data))

        def set_protocol(self, protocol: Any) -> None:
            self._protocol = protocol

        def get_protocol(self) -> Any:
            return self._protocol

        def get_write_buffer_size(self) -> int:
            return 0

        def is_closing(self) -> bool:
            return False

        def close(self) -> None: ...

    class Connector(aiohttp.TCPConnector):
        async def _create_connection(self, *_: Any) -> Any:
            protocol, transport = self._factory(), Transport()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return protocol

    return Connector


class TornadoNetwork:
    """What Tornado's simple client connects by, anew for each call; that takes a turn of the event loop."""

    def __init__(self) -> None:
        from tornado.iostream import BaseIOStream

        class Stream(BaseIOStream):
            def write_to_fd(self, data: memoryview) -> int:
                self._answer = _answered(data)
                return len(data)

            def read_from_fd(self, buf: Any) -> int:
                answer, self._answer = self._answer, b""
                buf[: len(answer)] = answer
                return len(answer)

            def close_fd(self) -> None: ...

            def _add_io_state(self, _state: int) -> None:
                """Do not ask the event loop: the answer is there when it is asked for."""

        self._stream = Stream

    async def connect(self, _host: str, _port: int, *, max_buffer_size: int, **_: Any) -> Any:
        """Return a stream to anywhere."""
        await asyncio.sleep(0)
        return self._stream(max_buffer_size=max_buffer_size)

    def close(self) -> None:
        """Leave nothing behind."""
