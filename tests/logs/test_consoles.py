"""Whose lines become ours: handlers that do what logging's own do and write to the console; each line once."""

from __future__ import annotations

import json
import sys

import pytest

from .test_setup import run

BEGIN = "import io, json, logging, logging.handlers, os, queue, sys, obskit\n"
INIT = "obskit.init(logs='json')\n"
PLAIN_WRAPPER = "io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8', line_buffering=True)"

TAKEN = {
    "the file /dev/stdout": "logging.FileHandler('/dev/stdout')",
    "the file /dev/stderr": "logging.FileHandler('/dev/stderr', delay=True)",
    "another wrapper of the same buffer": f"logging.StreamHandler({PLAIN_WRAPPER})",
    "descriptor 1 opened anew": "logging.StreamHandler(os.fdopen(1, 'w', closefd=False))",
    "a copy of descriptor 1": "logging.StreamHandler(os.fdopen(os.dup(1), 'w'))",
    "a subclass that adds nothing": "type('Mine', (logging.StreamHandler,), {})(sys.stdout)",
}

SHOWN_OTHERWISE = {
    "an emit that prints": "type('P', (logging.Handler,), {'emit': lambda self, record: print(record.getMessage())})()",
    "an emit that writes to standard error": """type(
        'W', (logging.Handler,), {'emit': lambda self, record: sys.stderr.write(record.getMessage() + chr(10))})()""",
    "an emit of its own on top": """type('S', (logging.StreamHandler,), {
        'emit': lambda self, record: logging.StreamHandler.emit(self, record)})(sys.stdout)""",
    "a format of its own": """type('F', (logging.StreamHandler,), {
        'format': lambda self, record: logging.StreamHandler.format(self, record)})(sys.stdout)""",
    "Rich": "__import__('rich.logging').logging.RichHandler()",
}

BEHIND = {
    "a buffer": "logging.handlers.MemoryHandler(1, target=logging.StreamHandler(sys.stdout))",
    "a queue": """(lambda line: (
        globals().update(listeners=[logging.handlers.QueueListener(line, logging.StreamHandler(sys.stdout))]),
        listeners[0].start(), logging.handlers.QueueHandler(line))[2])(queue.Queue())""",
}


SENDING = """
class Sending(logging.Handler):
    def emit(self, record):
        try:
            sent.append(self.format(record))
        except Exception:
            print("could not send", record.getMessage(), file=sys.stderr)
class Choosing(logging.Handler):
    def emit(self, record):
        try:
            line = self.format(record)
        except ValueError:
            raise
        if record.levelno > 30:
            print(line, file=sys.stderr)
        else:
            for one in line.splitlines(): print(one)
sent = []
"""


@pytest.mark.parametrize(("kind", "doubled"), [("Sending", 0), ("Choosing", 1)])
def test_a_handler_that_prints_only_what_went_wrong_leaves_its_records_to_obskit(kind, doubled):
    done = run(BEGIN + SENDING + INIT + f"logging.getLogger().addHandler({kind}())\nlogging.warning('once more')")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).splitlines().count("once more") == doubled
    assert (done.stdout + done.stderr).count('"message":"once more"') == 1 - doubled


def shown(handler, *, on, init_first):
    """Return what a program shows of one record that ``handler`` gets, on either stream."""
    add = f"logging.getLogger({on!r}).addHandler({handler})\n"
    both = INIT + add if init_first else add + INIT
    end = "\nfor listener in globals().get('listeners', ()): listener.stop()"
    done = run(BEGIN + both + "logging.getLogger('app').warning('once %s', 'more')" + end)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("on", [None, "app"])
@pytest.mark.parametrize("init_first", [True, False])
@pytest.mark.parametrize("name", [*TAKEN, *BEHIND])
def test_what_ends_at_the_console_is_written_there_once_as_json(name, init_first, on):
    text = shown({**TAKEN, **BEHIND}[name], on=on, init_first=init_first)
    (line,) = text.splitlines()
    assert json.loads(line)["message"] == "once more"


@pytest.mark.parametrize("on", [None, "app"])
@pytest.mark.parametrize("name", SHOWN_OTHERWISE)
def test_a_handler_that_does_something_of_its_own_keeps_its_lines_and_they_are_not_doubled(name, on):
    if name == "Rich":
        pytest.importorskip("rich")
    text = shown(SHOWN_OTHERWISE[name], on=on, init_first=True)
    assert text.count("once more") == 1
    assert not text.startswith("{")


LOGURU = """
from loguru import logger
class Intercept(logging.Handler):
    def emit(self, record):
        logger.opt(depth=6).log(record.levelname, record.getMessage())
logging.basicConfig(handlers=[Intercept()], level=0, force=True)
"""


@pytest.mark.parametrize("sink", ["sys.stderr", "sys.stdout", "__import__('obskit.logs.loguru').logs.loguru.sink"])
def test_records_that_are_handed_to_loguru_are_shown_once(sink):
    code = BEGIN + INIT + LOGURU + f"logger.remove(); logger.add({sink})\nlogging.getLogger('app').warning('once more')"
    done = run(code)
    assert (done.stdout + done.stderr).count("once more") == 1


def test_records_that_loguru_writes_to_a_file_are_still_lines():
    code = BEGIN + INIT + LOGURU + "logger.remove(); logger.add(os.devnull)\nlogging.getLogger('app').warning('x')"
    assert json.loads(run(code).stdout)["message"] == "x"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace records from 3.12 on")
def test_a_copy_that_a_filter_puts_in_the_records_place_is_the_same_line():
    done = run(
        BEGIN
        + INIT
        + """
import copy
handler = logging.StreamHandler(sys.stdout)
handler.addFilter(lambda record: copy.copy(record))
logging.getLogger("app").addHandler(handler)
logging.getLogger("app").warning("one")
logging.getLogger("app").warning("one")
"""
    )
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["one", "one"]


OWN_ENTRY = """
class Own({base}):
    def emit(self, record):
        seen.append(self.format(record))
seen = []
handler = Own()
handler.setFormatter(logging.Formatter("own %(message)s"))
log = logging.getLogger("app")
log.propagate = False
log.addHandler(handler)
log.warning("x")
assert seen == ["own x"], seen
"""


@pytest.mark.parametrize("base", ["logging.StreamHandler", "logging.Handler"])
def test_a_handler_with_an_emit_of_its_own_formats_as_ever(base):
    done = run(BEGIN + INIT + OWN_ENTRY.format(base=base))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_formatter_finds_logging_and_then_the_application_above_it():
    done = run(
        BEGIN
        + INIT
        + """
import inspect
class Looking(logging.Formatter):
    def format(self, record):
        return "\\n".join(frame.filename for frame in inspect.stack()[1:])
for stream in (io.StringIO(), sys.stdout):
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Looking())
    logging.getLogger("app").addHandler(handler)
    assert logging.Handler.format.__module__ == "logging"
logging.getLogger("app").propagate = False
logging.getLogger("app").warning("x")
text = logging.getLogger("app").handlers[0].stream.getvalue()
assert "obskit" not in text, text
logging.getLogger("py.warnings").addHandler(logging.getLogger("app").handlers[0])
import warnings
warnings.warn("old")
assert "/obskit/" not in logging.getLogger("app").handlers[0].stream.getvalue()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


RECORD_KEEPERS = """
class Last(logging.Handler):
    def emit(self, record):
        seen.append((record.message, hasattr(record, "asctime"), bool(record.exc_text)))
seen = []
logging.basicConfig(handlers=[logging.StreamHandler(), Last()], level="INFO", format={form!r})
"""


@pytest.mark.parametrize("form", ["%(message)s", "%(asctime)s %(message)s"])
@pytest.mark.parametrize("init_first", [True, False])
def test_handlers_behind_find_on_a_record_what_the_first_ones_formatter_sets(form, init_first):
    keepers = RECORD_KEEPERS.format(form=form)
    done = run(
        BEGIN
        + (INIT + keepers if init_first else keepers + INIT)
        + """
logging.info("hello %s", "you")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("failed")
print(json.dumps(seen))
"""
    )
    dated = "asctime" in form
    assert json.loads(done.stdout) == [["hello you", dated, False], ["failed", dated, True]]


CONFIGURED = {
    "dictConfig": """
logging.config.dictConfig({"version": 1, "formatters": {"json": {"class": CLASS, "format": "%(message)s"}},
    "handlers": {"out": {"class": HANDLER, "formatter": "json"}}, "root": {"level": "INFO", "handlers": ["out"]}})
""",
    "dictConfig with a factory": """
logging.config.dictConfig({"version": 1, "formatters": {"json": {"()": CLASS}},
    "handlers": {"out": {"class": HANDLER, "formatter": "json"}}, "root": {"level": "INFO", "handlers": ["out"]}})
""",
    "fileConfig": """
open(PATH, "w").write(f'''
[loggers]
keys=root
[handlers]
keys=out
[formatters]
keys=json
[logger_root]
level=INFO
handlers=out
[handler_out]
class={HANDLER}
args=()
formatter=json
[formatter_json]
class={CLASS}
format=%(message)s
datefmt=%H
''')
logging.config.fileConfig(PATH)
""",
}


@pytest.mark.parametrize("handler", ["logging.StreamHandler", "obskit.logs.handler.ConsoleHandler"])
@pytest.mark.parametrize("how", CONFIGURED)
def test_formatters_can_be_named_in_configurations(how, handler, tmp_path):
    name = f"HANDLER, PATH = {handler!r}, {str(tmp_path / 'log.ini')!r}\nimport logging.config\n"
    for kind in ("obskit.logs.formatter.CloudLoggingFormatter", "obskit.logs.console.ConsoleFormatter"):
        code = BEGIN + "import obskit.logs.handler\n" + name + f"CLASS = {kind!r}\n" + CONFIGURED[how]
        done = run(code + "logging.info('hello')")
        assert done.returncode == 0, done.stderr
        line = done.stdout + done.stderr
        assert line.count("hello") == 1
        assert line.startswith("{") == ("Cloud" in kind)


def test_a_console_handler_without_a_formatter_writes_as_init_has_it():
    add = "from obskit.logs.handler import ConsoleHandler\nlogging.root.addHandler(ConsoleHandler())\n"
    last = "logging.warning('hello')"
    for code in (BEGIN + add + last, BEGIN + INIT + add + last):
        (line,) = run(code).stdout.splitlines()
        assert json.loads(line)["message"] == "hello"
    assert run(BEGIN + add + "obskit.init(logs='console')\n" + last).stdout.count("WARNING  root: hello") == 1


CHANGES = {
    "its stream": ("handler.setStream(io.StringIO())", "handler.setStream(sys.stderr)"),
    "its level": ("handler.setLevel('ERROR')", "handler.setLevel('INFO')"),
    "the logger's handlers": ("parent.removeHandler(handler)", "parent.addHandler(handler)"),
    "one handler in another's place": (
        "parent.handlers[:] = [Own(io.StringIO())]; handler = None",
        "parent.handlers[:] = [Own(sys.stderr)]",
    ),
    "what the logger passes on": ("log.propagate = False; log.addHandler(ours)", "log.propagate = True"),
}


@pytest.mark.parametrize("hidden_first", [True, False])
@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_while_the_program_runs_holds_for_the_next_record(name, hidden_first):
    hide, show = CHANGES[name]
    steps = [(hide, "hidden"), (show, "shown"), (hide, "hidden"), (show, "shown")][0 if hidden_first else 1 :]
    done = run(
        BEGIN
        + INIT
        + """
class Own(logging.StreamHandler):
    def emit(self, record):
        self.stream.write("own " + record.getMessage() + chr(10))
handler, ours = Own(sys.stderr), logging.root.handlers[0]
parent, log = logging.getLogger("app"), logging.getLogger("app.part")
parent.addHandler(handler)
"""
        + "".join(f"{step}\nlog.warning({kind!r})\n" for step, kind in steps)
    )
    assert done.returncode == 0, done.stderr
    kinds = [kind for _, kind in steps]
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == [k for k in kinds if k == "hidden"]
    assert done.stderr.splitlines() == ["own shown"] * kinds.count("shown")
