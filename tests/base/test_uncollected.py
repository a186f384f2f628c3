"""The garbage collector during the import of obskit, and after it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from obskit.base.uncollected import uncollected

_IMPORT = """
import collections.abc
import contextlib
import gc
seen = []
gc.callbacks.append(lambda phase, info: seen.append(phase))
gc.set_threshold(10)
import obskit
print(len(seen))
"""


def test_hardly_a_collection_interrupts_the_import():
    done = subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 200  # else there are thousands


@pytest.mark.parametrize("on", [True, False])
def test_import_obskit_leaves_the_collector_as_it_was(on):
    code = f"import gc\n{'gc.enable' if on else 'gc.disable'}()\nimport obskit\nprint(gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"{on}\n"


def test_the_collector_is_on_again_after_an_import_that_fails():
    assert gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        raise ImportError("missing")
    assert gc.isenabled()
