"""grpc.aio's client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc.aio
import pytest

from obskit.testing import RpcClientContract


class TestGrpcAioClient(RpcClientContract):
    """Calls that are awaited, streams that are iterated; each thread of a test has a loop of its own."""

    integration = "grpc_aio_client"
    interceptors: Sequence[grpc.aio.ClientInterceptor] = ()

    @pytest.fixture(autouse=True)
    def _loops(self):
        self._local = threading.local()
        self._made: list[asyncio.AbstractEventLoop] = []
        yield
        for loop in self._made:
            loop.run_until_complete(loop.shutdown_asyncgens())
            if left := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.wait(left, timeout=5))
            loop.close()

    def run(self, coroutine):
        if not hasattr(self._local, "loop"):
            self._local.loop = asyncio.new_event_loop()
            self._made.append(self._local.loop)
        return self._local.loop.run_until_complete(coroutine)

    def channel(self, address: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(address, interceptors=self.interceptors)

    def call(self, address, method, request, metadata=None, timeout=None):
        async def made():
            async with self.channel(address) as channel:
                return await channel.unary_unary(method)(request, timeout=timeout, metadata=metadata)

        return self.run(made())

    @contextmanager
    def stream(self, address: str, method: str, request: bytes) -> Iterator[Iterator[bytes]]:
        async def started():
            channel = self.channel(address)
            return channel, channel.unary_stream(method)(request)

        channel, call = self.run(started())
        answers = self._steps(aiter(call))
        try:
            yield answers
        finally:
            self.run(channel.close())

    def _steps(self, answers):
        async def step():
            return await anext(answers, None)

        while (answer := self.run(step())) is not None:
            yield answer

    def upload(self, address: str, method: str, requests: Sequence[bytes]) -> bytes:
        async def made():
            async with self.channel(address) as channel:
                return await channel.stream_unary(method)(iter(requests))

        return self.run(made())

    def chat(self, address: str, method: str, requests: Sequence[bytes]) -> list[bytes]:
        async def made():
            async with self.channel(address) as channel:
                call = channel.stream_stream(method)()
                for request in requests:
                    await call.write(request)
                await call.done_writing()
                return [answer async for answer in call]

        return self.run(made())


class _Nosy(
    grpc.aio.UnaryUnaryClientInterceptor,
):
    """Of the application's own."""

    async def intercept_unary_unary(self, continuation, details, request):
        assert "x-b3-sampled" not in details.metadata, "only we send it, and not before the interceptors"
        return await continuation(details, request)


class TestIntercepted(TestGrpcAioClient):
    """A channel with an interceptor of the application's own."""

    interceptors = (_Nosy(),)
