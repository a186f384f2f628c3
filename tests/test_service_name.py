"""The service's name where nobody gives one, with the real commands that serve an application."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from obskit.settings import load
from tests.installed import need

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SAY = """
import obskit.settings, os, signal
os.write(1, obskit.settings.load({}).service.encode() + b"\\n")
os.killpg(0, signal.SIGKILL)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An application that says its name as it is imported, which ends whatever serves it."""
    (orders := tmp_path / "orders").mkdir()
    for name in ("__init__", "settings"):
        (orders / f"{name}.py").write_text("")
    for name in ("app", "__main__", "worker"):
        (orders / f"{name}.py").write_text(SAY)
    (tmp_path / "shop.py").write_text(SAY)
    (tmp_path / "manage.py").write_text(
        f"import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'orders.settings')\n{SAY}"
    )
    return tmp_path


def named(folder: Path, *command: object, **environment: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OBSKIT_", "OTEL_", "FLASK_"))}
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    return done.stdout.partition("\n")[0] or done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "gunicorn --bind localhost:0 --workers 1 orders.app",
        "uvicorn --port 0 --factory orders.app:create_app",
        "hypercorn --bind 127.0.0.1:0 orders.app:app",
        "waitress-serve --listen=127.0.0.1:0 orders.app:app",
        "flask --app=orders.app routes",
    ],
)
def test_a_served_applications_package_is_the_services_name(project: Path, command: str):
    name, *rest = command.split()
    assert named(project, BIN / name, *rest) == "orders"


def test_modules_run_as_programs_name_their_package(project: Path):
    python = sys.executable
    assert named(project, python, "-m", "orders") == "orders"
    assert named(project, python, "-m", "orders.worker") == "orders"
    assert named(project, python, "-m", "shop") == "shop"
    assert named(project, python, "-m", "gunicorn", "orders.app:app", "--bind", "127.0.0.1:0") == "orders"
    assert named(project, python, "-m", "flask", "routes", FLASK_APP="orders.app:app") == "orders"


def test_scripts_name_themselves_and_djangos_its_settings(project: Path):
    assert named(project, sys.executable, "shop.py") == "shop"
    assert named(project, sys.executable, "orders/worker.py", "a.b:c") == "worker"
    assert named(project, sys.executable, "manage.py", "check") == "orders"


def test_a_name_is_found_as_early_as_sitecustomize(project: Path):
    (early := project / "early").mkdir()
    (early / "sitecustomize.py").write_text(SAY)
    path = os.pathsep.join([str(early), str(project), str(ROOT)])
    assert named(project, sys.executable, "-m", "orders.worker", PYTHONPATH=path) == "orders"
    assert named(project, sys.executable, BIN / "gunicorn", "orders.app:app", PYTHONPATH=path) == "orders"


def test_celerys_application_is_the_services_name(project: Path):
    need("celery")
    assert named(project, BIN / "celery", "-A", "orders.app", "worker") == "orders"
    assert named(project, BIN / "celery", "--app=orders.app", "worker") == "orders"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/bin/celery", "-A", "orders.tasks:app", "worker"], "orders"),
        (["/bin/gunicorn", "-k", "gevent", "-w", "4", "orders"], "orders"),
        (["/bin/gunicorn", "--preload", "orders.wsgi"], "orders"),
        (["/bin/gunicorn", "--config", "conf.py"], "gunicorn"),
        (["/bin/granian", "--interface", "wsgi", "orders.app:app"], "orders"),
        (["/bin/daphne", "-b", "0.0.0.0", "-p", "80", "orders.asgi:application"], "orders"),
        (["/bin/gunicorn", "orders.app:create()"], "orders"),
        (["/bin/uvicorn"], "uvicorn"),
        (["/bin/flask", "-A", "orders/app.py:create_app()", "run"], "app"),
        (["/bin/flask", "--app"], "flask"),
        (["/bin/flask", "run"], "flask"),
        (["/bin/django-admin", "migrate", "--settings", "orders.settings"], "orders"),
        (["/bin/celery", "worker"], "celery"),
        ([""], "python"),
        (["-c"], "python"),
        (["/srv/shop/__main__.py"], "shop"),
        (["/srv/orders.py"], "orders"),
        ([5], "python"),
        ([], "python"),
        (None, "python"),
    ],
)
def test_what_commands_name(monkeypatch: pytest.MonkeyPatch, argv: list[str] | None, expected: str):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert load({}, {}).service == expected
