"""requests: its adapters send through urllib3, where each attempt has a span, those of ``max_retries`` too."""

from __future__ import annotations

from types import ModuleType

from urllib3 import connectionpool

from obskit.instrumentation.patching import Patches
from obskit.integrations import urllib3


def install(_module: ModuleType, patches: Patches) -> None:
    """Trace every attempt. The module is ``requests.adapters``."""
    urllib3.install(connectionpool, patches)
