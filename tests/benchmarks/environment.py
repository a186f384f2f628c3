"""The Python that all sides run on: one environment, kept by the benchmark, with obskit's wheel and its peers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venvs" / "bench"
PYTHON = FOLDER / "bin" / "python"
_DIST = ROOT / ".venvs" / "bench-dist"
_STAMP = FOLDER / "requirements"
_REQUIREMENTS = (
    "django",
    "fastapi",
    "flask",
    "requests",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-django",
    "opentelemetry-instrumentation-fastapi",
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-requests",
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
    "requests",
    "google-cloud-logging",
    "python-json-logger",
)
_PREFIXES = ("OBSKIT_", "OTEL_", "PYTHON", "K_", "GAE_")


def prepare() -> None:
    """Make the environment where it is missing, and put this checkout's wheel into it: built from the sdist, as for
    users, and compiled, so that neither an editable install's finder nor a first compilation is measured.
    """
    wanted = "\n".join([sys.version, *_REQUIREMENTS])
    if not _STAMP.exists() or _STAMP.read_text() != wanted:
        _run(sys.executable, "-m", "venv", "--clear", FOLDER)
        _pip("install", *_REQUIREMENTS)
        _STAMP.write_text(wanted)
    for old in _DIST.glob("*.whl"):
        old.unlink()
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", _DIST, ROOT)
    wheel = next(_DIST.glob("*.whl"))
    _pip("install", wheel)  # its dependencies, where they are missing
    _pip("install", "--no-deps", "--force-reinstall", "--compile", wheel)


def variables() -> dict[str, str]:
    """Return the environment variables for a measured process: nothing of the caller's that would configure a side."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}


def versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    code = f"from importlib.metadata import version\nfor name in {_SHOWN}: print(name, version(name))"
    output = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True, env=variables()).stdout
    return dict(line.split() for line in output.splitlines())


def _pip(*arguments: str | Path) -> None:
    _run(PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
