"""httpx and httpx2, which grew out of it and has the same names for the same things: it needs Python 3.11."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

_IS_HERE = find_spec("httpx2") is not None
httpx2: Any = importlib.import_module("httpx2") if _IS_HERE else httpx
"""httpx2; httpx in its stead where it is not here, and ``needs_httpx2`` skips the tests."""

needs_httpx2 = pytest.mark.skipif(not _IS_HERE, reason="httpx2 needs Python 3.11")


class OfHttpx:
    """What the contracts are told of httpx."""

    integration = "httpx"
    library: Any = httpx
    connection_error = httpx.TransportError
    body_error = httpx.RemoteProtocolError
    timeout_error = httpx.TimeoutException


class OfHttpx2:
    """The same of httpx2."""

    integration = "httpx2"
    library: Any = httpx2
    connection_error = httpx2.TransportError
    body_error = httpx2.RemoteProtocolError
    timeout_error = httpx2.TimeoutException
