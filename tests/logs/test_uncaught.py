"""Whatever logging configuration there is, an uncaught exception is on the console, and there once."""

from __future__ import annotations

import json
import re

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


ODD = {
    "nothing": "None, None, None",
    "what is no exception": "int, 5, None",
    "text": "'a', 'b', 'c'",
    "a class alone": "ValueError, None, None",
    "an exception without its class": "None, ValueError('bad'), None",
    "a class that is none": "5, ValueError('bad'), None",
    "an exception with what is no traceback": "ValueError, ValueError('bad'), 'x'",
    "a class whose tests raise": "type(type)('M', (type,), {'__subclasscheck__': fail})('C', (), {}), None, None",
}
HOOKS = {
    "main": "sys.excepthook({})",
    "Ctrl-C": "sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)",
    "the end of a thread": "threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(), None, None)))",
    "thread": "threading.excepthook(threading.ExceptHookArgs(({}, None)))",
    "thread of an object of its own": "threading.excepthook(types.SimpleNamespace(zip(NAMES, ({}, None))))",
    "no arguments": "sys.excepthook()",
    "an object without attributes": "threading.excepthook(object())",
}
CALL = """
import logging, sys, threading, types
def fail(*args):
    1 / 0
NAMES = ("exc_type", "exc_value", "exc_traceback", "thread")
{init}
for call in {calls!r}:
    try:
        eval(call)
    except Exception as error:
        print(call, "raised", type(error).__name__, file=sys.stderr)
"""


def test_what_the_hooks_are_called_with_is_shown_as_python_does():
    calls = list(dict.fromkeys(hook.replace("{}", odd) for hook in HOOKS.values() for odd in ODD.values()))
    bare, ours = (
        run(CALL.format(init=init, calls=calls))
        for init in ("", "import obskit; obskit.init(logs='json', integrations=[])")
    )
    assert (ours.returncode, ours.stdout) == (bare.returncode, bare.stdout)
    assert re.sub("thread [0-9]+", "", ours.stderr) == re.sub("thread [0-9]+", "", bare.stderr)


@pytest.mark.parametrize("how", ["main", "thread"])
def test_an_exception_without_a_traceback_is_a_record(how):
    call = HOOKS[how].replace("{}", "ValueError, ValueError('bad'), None")
    done = run(CALL.format(init="import obskit; obskit.init(logs='json', integrations=[])", calls=[call]))
    (entry,) = map(json.loads, done.stdout.splitlines())
    assert entry["message"].startswith("uncaught exception")
    assert entry["stack_trace"].endswith("ValueError: bad")
    assert done.stderr == ""


def test_what_cannot_be_raised_is_shown_as_python_does():
    code = """
class Odd:
    def __del__(self):
        raise ValueError("bad")
odd = Odd()
del odd
import sys
assert sys.unraisablehook is sys.__unraisablehook__
"""
    bare, ours = (run(init + code) for init in ("", "import obskit; obskit.init(logs='json')"))
    assert "ValueError: bad" in bare.stderr
    assert ours.stderr.splitlines()[-1] == bare.stderr.splitlines()[-1]
    assert (ours.stdout, ours.stderr.count("ValueError: bad")) == ("", 1)


def test_an_exception_of_a_task_that_is_never_asked_for_is_a_record():
    done = run(
        BEGIN.format(mode="json")
        + """
import asyncio, gc
async def work():
    fail()
async def main():
    task = asyncio.ensure_future(work())
    await asyncio.wait([task])
    asyncio.get_running_loop().call_exception_handler({"message": "told"})
    del task
    gc.collect()
asyncio.run(main())
"""
    )
    told, never = map(json.loads, done.stdout.splitlines())
    assert (told["logger"], told["message"]) == ("asyncio", "told")
    assert never["message"].startswith("Task exception was never retrieved")
    assert never["stack_trace"].endswith("ZeroDivisionError: division by zero")
    assert done.stderr == ""


WARN = {
    "a warning": 'warnings.warn("old")',
    "of the caller": 'def old(): warnings.warn("old", stacklevel=2)\nold()',
    "with its place": 'warnings.warn_explicit("old", UserWarning, "app.py", 17)',
    "that logging captured before": 'logging.captureWarnings(True)\nwarnings.warn("old")',
    "shown directly": 'warnings.showwarning("old", UserWarning, "app.py", 17)',
}


@pytest.mark.parametrize("name", WARN)
def test_the_line_of_a_warning_has_the_warnings_place(name, tmp_path):
    program = tmp_path / "app.py"
    program.write_text(f"import logging, warnings, obskit\nobskit.init(logs='json')\n{WARN[name]}\n")
    done = run(f"import runpy; runpy.run_path({str(program)!r})")
    (entry,) = map(json.loads, done.stdout.splitlines())
    place = entry["logging.googleapis.com/sourceLocation"]
    line = "17" if '"app.py"' in WARN[name] else str(len(program.read_text().splitlines()))
    assert (place["file"].rpartition("/")[2], place["line"]) == ("app.py", line)
    assert f"app.py:{line}: UserWarning: old" in entry["message"]
    assert done.stderr == ""


SET_HOOK = "def mine(message, *args): print('mine', message)\nwarnings.showwarning = mine"
INIT = "import obskit; obskit.init(logs='json')"
RECORD = """
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    warnings.warn("recorded")
print(found[0].message)
"""
WRITE = """
out = io.StringIO()
warnings.showwarning("written", UserWarning, "app.py", 17, out, "line")
print(out.getvalue())
"""
CAPTURE = "logging.captureWarnings(True)"
REMOVE = "obskit.shutdown(unpatch=True)"
SAME = "before = warnings.showwarning\n{}\nassert warnings.showwarning is before"

LEFT = {
    "a hook from before": (SET_HOOK, INIT, "warnings.warn('x')"),
    "a hook of later": (INIT, SET_HOOK, "warnings.warn('x')"),
    "a hook of later outlives us": (INIT, SET_HOOK, REMOVE, "warnings.warn('x')"),
    "recorded ones": (INIT, RECORD),
    "what goes to a file": (INIT, WRITE),
    "a change that is undone": (SAME.format(f"{INIT}\n{REMOVE}"),),
    "logging's capture that outlives us": (CAPTURE, SAME.format(f"{INIT}\n{REMOVE}")),
}


@pytest.mark.parametrize("name", LEFT)
def test_warnings_that_the_program_shows_or_records_are_left_to_it(name):
    program = ["import io, logging, sys, warnings", *LEFT[name]]
    bare, ours = (
        run("\n".join(lines)) for lines in ([line.replace(INIT, "").replace(REMOVE, "") for line in program], program)
    )
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, bare.stdout, bare.stderr)
