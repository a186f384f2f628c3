"""Import modules of FOLDER that have the names of instrumented libraries, and are broken."""

import importlib
import sys

import side  # noqa: F401 - starts the library

sys.path.insert(0, sys.argv[1])
NAMES = ("bottle", "httpx", "flask", "starlette.applications", "django.core.handlers.base", "requests.no_such")


def load(name):
    try:
        module = importlib.import_module(name)
    except BaseException as error:
        print(name, type(error).__name__, error)
    else:
        print(name, sorted(key for key in vars(module) if key[0] != "_"))


for name in NAMES:
    load(name)
    load(name)
print(importlib.reload(sys.modules["flask.app"]).Flask)
print(len(sys.modules["flask"].__spec__.loader.get_source("flask")))
