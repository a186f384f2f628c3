"""Test tools: record spans in your own tests, and hold an integration to its contract."""

from __future__ import annotations

from obskit.testing.http_client_contract import HttpClientContract
from obskit.testing.http_server_contract import HttpServerContract
from obskit.testing.recorder import Recorder, recording

__all__ = ["HttpClientContract", "HttpServerContract", "Recorder", "recording"]
