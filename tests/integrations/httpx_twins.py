"""httpx2, where it can be had: it needs Python 3.11."""

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
