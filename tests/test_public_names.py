"""What `import obskit` offers, and that its calls take what the documentation says."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import obskit
from obskit.settings import OPTIONS


def test_the_public_names_are_these_and_all_exist():
    assert sorted(obskit.__all__) == [
        "ConfigurationError",
        "continue_trace",
        "current_span",
        "flush",
        "init",
        "inject",
        "log_context",
        "shutdown",
        "span",
        "stats",
    ]
    assert all(hasattr(obskit, name) for name in obskit.__all__)


def test_every_public_name_explains_itself():
    assert all(inspect.getdoc(getattr(obskit, name)) for name in obskit.__all__)


def test_init_takes_every_option_by_keyword_and_none_else():
    parameters = inspect.signature(obskit.init).parameters.values()
    assert [parameter.name for parameter in parameters] == [option.name for option in OPTIONS]
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert {parameter.default for parameter in parameters} == {None}


def test_timeouts_have_the_promised_defaults():
    assert inspect.signature(obskit.flush).parameters["timeout"].default == 2.0
    shutdown = inspect.signature(obskit.shutdown).parameters
    assert (shutdown["timeout"].default, shutdown["unpatch"].default) == (2.0, False)


def test_the_version_is_that_of_the_package():
    assert obskit.__version__ == version("obskit")
