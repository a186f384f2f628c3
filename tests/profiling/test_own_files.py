"""A profile names obskit's own files by module, so that viewers do not take them for the application's."""

from __future__ import annotations

import sys

import obskit.examples
import obskit.integrations.http_client
from obskit.base import pprof
from obskit.collector.profiles.flame import is_library
from obskit.profiling.own_files import own_files
from obskit.profiling.stacks import StackTable


def test_a_function_of_obskit_has_its_modules_name_and_one_of_the_application_its_path():
    table, found = StackTable(), []
    one = pprof.Profile(
        (pprof.ValueType("cpu", "nanoseconds"),), [pprof.Sample((), (1,))], pprof.ValueType("", ""), 1, 1, 1
    )
    pprof.encode(one, lambda: found.append(table.read(sys._getframe())))
    files = [location.file for location in table.locations(found[0])]
    assert files[:3] == [__file__, "obskit/base/pprof.py", __file__]
    assert [is_library(file) for file in files[:3]] == [False, True, False]


def test_an_integration_is_obskits_and_an_example_is_an_application():
    found = own_files()
    assert found[obskit.integrations.http_client.__file__] == "obskit/integrations/http_client.py"
    assert found[obskit.__file__] == "obskit/__init__.py"
    assert obskit.examples.__file__ not in found
