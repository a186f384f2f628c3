"""Logging's own set-up functions do after ``obskit.init()`` what they do without obskit: a bare program tells what."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

BEGIN = """
import json, logging, logging.config, sys
from logging import basicConfig
"""
INIT = "import obskit; obskit.init(logs='json')\n"
END = """
for level in ("debug", "info", "warning", "error"):
    getattr(logging.root, level)(level)
kinds = [type(one).__name__ for one in logging.root.handlers if not type(one).__module__.startswith("obskit")]
with open("report", "w") as report:
    json.dump([kinds, logging.root.level, open("app.log").read()], report)
"""
FORMS = "'version': 1, 'disable_existing_loggers': False"
FILE = "'handlers': {'f': {'class': 'logging.FileHandler', 'filename': 'app.log'}}"
INI = """
[loggers]
keys=root
[handlers]
keys=f
[formatters]
keys=
[logger_root]
level=ERROR
handlers=f
[handler_f]
class=FileHandler
args=("app.log",)
"""

SET_UP = {
    "a file and a level": "logging.basicConfig(filename='app.log', level=logging.WARNING, format='%(message)s')",
    "a file alone": "logging.basicConfig(filename='app.log')",
    "a level alone": "logging.basicConfig(level='ERROR')",
    "no argument": "logging.basicConfig()",
    "the name that was imported before": "basicConfig(filename='app.log', level='DEBUG', style='{', format='{msg}')",
    "a handler": "logging.basicConfig(handlers=[logging.FileHandler('app.log')], level=logging.INFO)",
    "a second time": "basicConfig(filename='app.log', level='INFO'); basicConfig(filename='other.log', level='DEBUG')",
    "by force": "logging.basicConfig(filename='app.log', level='ERROR', force=True)",
    "by force behind another": "basicConfig(level='DEBUG'); basicConfig(filename='app.log', level='ERROR', force=True)",
    "a level that was set before": "logging.root.setLevel(logging.INFO); logging.basicConfig(filename='app.log')",
    "arguments that exclude each other": """
logging.root.setLevel("ERROR")
try:
    logging.basicConfig(filename="app.log", stream=sys.stderr)
except ValueError as error:
    open("app.log", "w").write(str(error))
""",
    "a dictionary without a root": f"logging.root.setLevel('ERROR'); logging.config.dictConfig({{{FORMS}}})",
    "a dictionary": f"logging.config.dictConfig({{{FORMS}, {FILE}, 'root': {{'handlers': ['f'], 'level': 'INFO'}}}})",
    "an INI file": f"open('log.ini', 'w').write('''{INI}'''); logging.config.fileConfig('log.ini')",
}


def report(folder, program, *run):
    """Run a program in a folder of its own; return what it found there, and how its root logger is set up."""
    folder.mkdir()
    (folder / "app.log").touch()
    (folder / "app.py").write_text(program)
    environment = {**os.environ, "OBSKIT_EXPORTER": "none", "OBSKIT_SERVICE": "orders", "OBSKIT_LOGS": "json"}
    command = [*run, sys.executable, "app.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "report").read_text())


@pytest.mark.parametrize("name", SET_UP)
def test_the_root_logger_and_its_file_are_as_without_obskit(name, tmp_path):
    bare = report(tmp_path / "bare", BEGIN + SET_UP[name] + END)
    assert report(tmp_path / "init", BEGIN + INIT + SET_UP[name] + END) == bare


@pytest.mark.parametrize("name", ["a file and a level", "by force", "a level alone"])
def test_under_obskit_run_too(name, tmp_path):
    bare = report(tmp_path / "bare", BEGIN + SET_UP[name] + END)
    under = (sys.executable, "-m", "obskit", "run", "--")
    assert report(tmp_path / "run", BEGIN + SET_UP[name] + END, *under) == bare


@pytest.mark.parametrize("end", ["obskit.shutdown(unpatch=True)", "obskit.init(logs='off')"])
def test_the_functions_are_loggings_own_again_afterwards(end, tmp_path):
    program = f"""
from logging import basicConfig
from logging.config import dictConfig, fileConfig
functions = (basicConfig, dictConfig, fileConfig)
before = [(one.__code__, one.__kwdefaults__) for one in functions]
{INIT}
assert all(one.__code__ is not code for one, (code, _) in zip(functions, before))
{end}
assert [(one.__code__, one.__kwdefaults__) for one in functions] == before
"""
    report(tmp_path / "run", BEGIN + program + END)
