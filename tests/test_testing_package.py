"""``obskit.testing``: what is there for whom."""

from __future__ import annotations

from tests.export.receiver import run


def test_recording_needs_no_pytest():
    code = """
import sys
sys.modules["pytest"] = sys.modules["_pytest"] = None
from obskit.testing import recording
import obskit
with recording() as recorder:
    with obskit.span("a"): pass
    print(recorder.take().name)
"""
    assert run(code).stdout == "a\n"
