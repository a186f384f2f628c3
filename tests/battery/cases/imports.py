"""Modules that are broken, half there, imported in a circle, by many threads, or again."""

from __future__ import annotations

from pathlib import Path

from tests.battery.backend import backend
from tests.battery.lab import Lab
from tests.battery.registry import case

_CIRCULAR = "import starlette.applications\nprint('circular:', hasattr(starlette.applications, 'Starlette'))"
_PARTIAL = "import flask\nprint('partial:', hasattr(flask, 'Flask'))\nFlask = 7"
_MODULES = {
    "bottle.py": "raise ZeroDivisionError('broken on import')",
    "httpx.py": "def broken(:\n",
    "flask/__init__.py": "from flask.app import Flask",
    "flask/app.py": _PARTIAL,
    "starlette/__init__.py": "",
    "starlette/applications.py": "import starlette.routing\nclass Starlette: pass",
    "starlette/routing.py": _CIRCULAR,
    "django/__init__.py": "",
    "django/core/__init__.py": "raise ImportError('needs settings')",
}


@case(
    42,
    "import",
    "instrumented modules broken, partial, circular, reloaded; 16 threads import",
    "the application's own errors; wrapped once",
)
def hostile_imports(lab: Lab) -> str:
    folder = lab.folder / "modules"
    _write_modules(folder)
    with backend() as server:
        broken = lab.compare("broken_imports", server.url, folder, OBSKIT_INTEGRATIONS="")
        failures = broken.log.count("failed inside obskit")
        run = lab.run("threaded_imports", server.url, server.port, OBSKIT_INTEGRATIONS="requests,urllib3")
        assert (run.code, run.err, run.log.count("Traceback")) == (0, "", 0), run.err + run.log
        assert len(server.names) == 3, f"{len(server.names)} spans for 3 calls: wrapped twice, or not at all"
        return f"the same errors as without ({failures} of ours logged); 1 span a call after 16 threads and a reload"


def _write_modules(folder: Path) -> None:
    for name, text in _MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
