"""grpc's client, in each of the ways in which a call can be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.experimental

from obskit.testing import RpcClientContract


class TestGrpcClient(RpcClientContract):
    """Plain calls."""

    integration = "grpc_client"
    options: tuple[tuple[str, Any], ...] = ()

    @contextmanager
    def channel(self, address: str) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(address, self.options) as channel:
            yield channel

    def call(self, address, method, request, metadata=None, timeout=None):
        with self.channel(address) as channel:
            return channel.unary_unary(method)(request, timeout, metadata)

    @contextmanager
    def stream(self, address: str, method: str, request: bytes) -> Iterator[Iterator[bytes]]:
        with self.channel(address) as channel:
            yield channel.unary_stream(method)(request)

    def upload(self, address: str, method: str, requests: Sequence[bytes]) -> bytes:
        with self.channel(address) as channel:
            return channel.stream_unary(method)(iter(requests), timeout=10)

    def chat(self, address: str, method: str, requests: Sequence[bytes]) -> list[bytes]:
        with self.channel(address) as channel:
            return list(channel.stream_stream(method)(iter(requests)))


class TestWithCall(TestGrpcClient):
    """``with_call``, which gives the call besides its answer; streams are read without the channel's thread."""

    options = ((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)

    def call(self, address, method, request, metadata=None, timeout=None):
        with self.channel(address) as channel:
            answer, call = channel.unary_unary(method).with_call(request, metadata=metadata, timeout=timeout)
            assert call.code() is grpc.StatusCode.OK
            return answer

    def upload(self, address: str, method: str, requests: Sequence[bytes]) -> bytes:
        with self.channel(address) as channel:
            return channel.stream_unary(method).with_call(iter(requests))[0]


class TestFuture(TestGrpcClient):
    """Futures."""

    def call(self, address, method, request, metadata=None, timeout=None):
        with self.channel(address) as channel:
            return channel.unary_unary(method).future(request, timeout, metadata).result()

    def upload(self, address: str, method: str, requests: Sequence[bytes]) -> bytes:
        with self.channel(address) as channel:
            return channel.stream_unary(method).future(iter(requests)).result()


class _Nosy(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def _intercept(self, continuation, details, requests):
        names = [name for name, _ in details.metadata or ()]
        assert "x-b3-sampled" not in names, "only we send it, and not before the interceptors"
        return continuation(details, requests)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _intercept


class TestIntercepted(TestGrpcClient):
    """A channel with an interceptor of the application's own."""

    @contextmanager
    def channel(self, address: str) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(address) as channel:
            yield grpc.intercept_channel(channel, _Nosy())
