"""Test tools: record spans in your own tests, and check an integration against its contract (which needs pytest)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from obskit.testing.recorder import Recorder, recording

if TYPE_CHECKING:
    from obskit.testing.http_client_contract import AsyncHttpClientContract, HttpClientContract
    from obskit.testing.http_server_contract import HttpServerContract
    from obskit.testing.rpc_client_contract import RpcClientContract
    from obskit.testing.rpc_server_contract import RpcServerContract

__all__ = [
    "AsyncHttpClientContract",
    "HttpClientContract",
    "HttpServerContract",
    "Recorder",
    "RpcClientContract",
    "RpcServerContract",
    "recording",
]
_CONTRACTS = {
    "AsyncHttpClientContract": "http_client_contract",
    "HttpClientContract": "http_client_contract",
    "HttpServerContract": "http_server_contract",
    "RpcClientContract": "rpc_client_contract",
    "RpcServerContract": "rpc_server_contract",
}


def __getattr__(name: str) -> Any:
    """Import a contract on first access, so that ``recording`` works without pytest."""
    if name not in _CONTRACTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_CONTRACTS[name]}"), name)
