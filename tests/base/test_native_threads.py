"""Threads below gevent and eventlet themselves are tests of tests/integrations."""

from __future__ import annotations

import sys
import time
from types import ModuleType

import pytest

from obskit.base.native_threads import original


@pytest.mark.parametrize("name", ["gevent.monkey", "eventlet.patcher"])
def test_a_patching_module_that_is_not_there_yet_has_replaced_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amid its import, or where a test put an empty one."""
    for content in (None, ModuleType(name)):
        monkeypatch.setitem(sys.modules, name, content)
        assert original("time", "sleep") is time.sleep
