"""The Python that all sides run on: one environment, kept by the benchmark, with obskit's wheel and its peers.

The peers and what they need have the versions of ``counts.json``, so that figures of two days or machines compare.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venvs" / "bench"
PYTHON = FOLDER / "bin" / "python"
_DIST = ROOT / ".venvs" / "bench-dist"
_STAMP = FOLDER / "requirements"
_CONSTRAINTS = FOLDER / "constraints"
RECORD = Path(__file__).parent / "counts.json"
_REQUIREMENTS = (
    "aiohttp",
    "django",
    "fastapi",
    "flask",
    "grpcio",
    "requests",
    "tornado",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-aiohttp-server",
    "opentelemetry-instrumentation-django",
    "opentelemetry-instrumentation-fastapi",
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-grpc",
    "opentelemetry-instrumentation-requests",
    "opentelemetry-instrumentation-tornado",
    "opentelemetry-exporter-zipkin-json",
    "opentelemetry-propagator-b3",
    "google-cloud-logging",
    "python-json-logger",
    "orjson",
)
_SHOWN = (
    "obskit",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-flask",
    "django",
    "fastapi",
    "flask",
    "grpcio",
    "requests",
    "google-cloud-logging",
    "python-json-logger",
)
_PREFIXES = ("OBSKIT_", "OTEL_", "PYTHON", "K_", "GAE_")


def prepare(newest: bool = False, more: Iterable[str] = ()) -> None:
    """Make the environment where it is missing, and put this checkout's wheel into it: built from the sdist, as for
    users, and compiled, so that neither an editable install's finder nor a first compilation is measured.

    With ``newest`` the peers have their newest releases instead of those of the record. ``more`` is installed, too.
    """
    recorded = {} if newest else record().get("libraries", {})
    constraints = "\n".join(f"{name}=={version}" for name, version in recorded.items())
    requirements = [*_REQUIREMENTS, *sorted(set(more))]
    wanted = "\n".join([sys.version, *requirements, constraints])
    if newest or not _STAMP.exists() or _STAMP.read_text() != wanted:
        _run(sys.executable, "-m", "venv", "--clear", FOLDER)
        _CONSTRAINTS.write_text(constraints)
        _install(*requirements)
        _STAMP.write_text(wanted)
    for old in _DIST.glob("*.whl"):
        old.unlink()
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", _DIST, ROOT)
    wheel = next(_DIST.glob("*.whl"))
    _install(wheel)  # its dependencies, where they are missing
    _install("--no-deps", "--force-reinstall", "--compile", wheel)


def variables() -> dict[str, str]:
    """Return the environment variables for a measured process: nothing of the caller's that would configure a side."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}


def versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    installed = libraries()
    return {name: installed[name] for name in _SHOWN}


def libraries() -> dict[str, str]:
    """Return the versions of all that is installed."""
    code = "from importlib.metadata import distributions\nfor one in distributions(): print(one.name, one.version)"
    return dict(line.split() for line in sorted(_output(code).lower().splitlines()))


def build() -> dict[str, str]:
    """Return what tells builds of CPython apart, whose instructions differ for the same work."""
    code = """if True:
        import json, platform, sysconfig
        get = sysconfig.get_config_var
        print(json.dumps({
            "python": platform.python_version(), "compiler": platform.python_compiler(), "flags": get("PY_CFLAGS"),
            "profiled": "--enable-optimizations" in (get("CONFIG_ARGS") or ""),
            "machine": platform.machine(), "libc": " ".join(platform.libc_ver()),
        }))"""
    found: dict[str, str] = json.loads(_output(code))
    return found


def record() -> dict[str, Any]:
    """Return what ``counts.json`` holds; empty where there is none."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def _output(code: str) -> str:
    return subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True, env=variables()).stdout


def _install(*what: str | Path) -> None:
    _run(PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--constraint", _CONSTRAINTS, *what)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
