"""Whatever logging configuration there is, an uncaught exception is on the console, and there once."""

from __future__ import annotations

import json

import pytest

from .test_setup import run

BEGIN = """
import logging, logging.config, sys, threading, obskit
obskit.init(logs={mode!r})
def fail():
    1 / 0
def configure(handlers, **root):
    root = {{"level": "INFO", "handlers": list(handlers), **root}}
    logging.config.dictConfig({{"version": 1, "handlers": handlers, "root": root}})
"""

RAISE = {
    "main": "fail()",
    "thread": "thread = threading.Thread(target=fail); thread.start(); thread.join()",
}

TAKEN = {
    "a stream handler": "configure({'h': {'class': 'logging.StreamHandler'}})",
    "standard output": "configure({'h': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout'}})",
    "no root in the configuration": "logging.config.dictConfig({'version': 1})",
    "no handler at all": "logging.root.handlers.clear()",
    "a file as well": "logging.root.addHandler(logging.FileHandler('app.log'))",
    "basicConfig": "logging.basicConfig(force=True)",
}

NOT_TAKEN = {
    "a null handler": "configure({'h': {'class': 'logging.NullHandler'}})",
    "a file": "configure({'h': {'class': 'logging.FileHandler', 'filename': FILE}})",
    "a level above": "configure({'h': {'class': 'logging.StreamHandler', 'level': 51}})",
    "a root level above": "configure({'h': {'class': 'logging.StreamHandler'}}, level=51)",
    "a filter": "logging.root.handlers[0].addFilter(logging.Filter('mine'))",
    "a filter of twins": "h = logging.StreamHandler(); h.addFilter(logging.Filter('mine')); logging.root.addHandler(h)",
    "logging disabled": "logging.disable(logging.CRITICAL)",
    "a handler that fails": "logging.root.handlers[0].addFilter(lambda record: 1 / len(''))",
    "a closed standard output": "sys.stdout.close()",
}


def console(how, setting, mode, tmp_path):
    """Run a program that fails; return its standard output and error."""
    code = BEGIN.format(mode=mode) + f"FILE = {str(tmp_path / 'app.log')!r}\n" + setting + "\n" + RAISE[how]
    done = run(code.replace("'app.log'", "FILE"))
    assert done.returncode == (1 if how == "main" else 0)
    return done.stdout, done.stderr


@pytest.mark.parametrize("how", RAISE)
@pytest.mark.parametrize("name", TAKEN)
def test_the_record_is_all_there_is_where_a_handler_writes_it_to_the_console(name, how, tmp_path):
    out, err = console(how, TAKEN[name], "json", tmp_path)
    (entry,) = [json.loads(text) for text in (out + err).splitlines()]
    assert entry["message"].startswith("uncaught exception")
    assert entry["stack_trace"].endswith("ZeroDivisionError: division by zero")
    assert entry["logging.googleapis.com/sourceLocation"]["function"] == "fail"


@pytest.mark.parametrize("name", ["a stream handler", "no root in the configuration"])
def test_in_console_mode_too(name, tmp_path):
    out, err = console("main", TAKEN[name], "console", tmp_path)
    assert "CRITICAL uncaught: uncaught exception" in out + err
    assert (out + err).count("ZeroDivisionError: division by zero") == 1


@pytest.mark.parametrize("how", RAISE)
@pytest.mark.parametrize("name", NOT_TAKEN)
def test_python_prints_the_traceback_where_no_handler_writes_it_to_the_console(name, how, tmp_path):
    out, err = console(how, NOT_TAKEN[name], "json", tmp_path)
    assert "Traceback (most recent call last)" in err
    assert "uncaught exception" not in out
    assert err.count("\nZeroDivisionError: division by zero") == 1
    if name == "a file":
        assert "ZeroDivisionError" in (tmp_path / "app.log").read_text()


def test_the_applications_own_hook_is_called_once_where_nothing_else_shows_the_exception():
    done = run(
        """
        import logging, sys, obskit
        sys.excepthook = lambda kind, error, traceback: print("mine", error)
        obskit.init(logs="json")
        logging.root.handlers[:] = [logging.NullHandler()]
        raise ValueError("bad")
        """
    )
    assert (done.stdout, done.stderr) == ("mine bad\n", "")


def test_what_goes_to_the_cloud_alone_is_on_the_console_as_well():
    done = run(
        """
        import sys, obskit.logs.uncaught, logging
        from obskit.logs.cloud.handler import CloudLoggingHandler
        logging.root.addHandler(CloudLoggingHandler("orders", endpoint="http://127.0.0.1:9", exit_timeout=0.0))
        obskit.logs.uncaught.install()
        1 / 0
        """
    )
    assert done.returncode == 1
    assert "\nZeroDivisionError: division by zero\n" in done.stderr


def test_warnings_of_obskits_own_outlive_dict_config():
    done = run(
        BEGIN.format(mode="json")
        + """
logging.getLogger("app")
configure({"h": {"class": "logging.StreamHandler"}})
from obskit.base.failures import failed
try:
    fail()
except ZeroDivisionError:
    failed("a test")
logging.getLogger("app").warning("disabled, as was asked")
"""
    )
    (entry,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (entry["logger"], entry["severity"]) == ("obskit", "WARNING")
    assert entry["message"].startswith("a test failed inside obskit")


def test_warnings_of_python_are_records_after_dict_config_too():
    done = run(
        BEGIN.format(mode="json")
        + """
import warnings
warnings.warn("before", UserWarning)
configure({"h": {"class": "logging.StreamHandler"}})
warnings.warn("after", UserWarning)
obskit.shutdown()
warnings.warn("not ours", UserWarning)
"""
    )
    entry, *plain = done.stderr.splitlines()
    assert json.loads(entry)["logger"] == "py.warnings"
    assert "UserWarning: after" in json.loads(entry)["message"]
    assert "UserWarning: not ours" in plain[0]
