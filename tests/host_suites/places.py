"""Environments and sources of the suites, in ``.venvs/host_suites``, and runs in them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.host_suites import results
from tests.host_suites.suites import Suite

ROOT = Path(__file__).parent.parent.parent
PLACE = ROOT / ".venvs" / "host_suites"


class CannotRun(Exception):
    """Why a suite cannot be run here."""


def prepare(name: str, suite: Suite) -> Path:
    """Make a suite's environment and unpack its source, unless that was done before; return the folder."""
    folder = PLACE / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    if (folder / "ready").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _command(sys.executable, "-m", "venv", str(folder / "venv"))
    if suite.sdist:
        _pip(folder, "install", suite.sdist, "pytest", "pytest-timeout", *suite.needs)
        version = _command(
            str(python(folder)), "-c", f"from importlib import metadata; print(metadata.version({bare(suite)!r}))"
        )
        options = ("--no-deps", "--no-binary", bare(suite), "--dest", str(folder))
        _pip(folder, "download", *options, f"{bare(suite)}=={version.strip()}")
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "unpacked", filter="data")
        [(folder / "unpacked").iterdir().__next__().rename(folder / "source")]
    else:
        (folder / "source").mkdir()
        if subprocess.run([python(folder), "-c", "import test.libregrtest"], capture_output=True).returncode:
            raise CannotRun("this Python comes without its tests (the module test)")
    _pip(folder, "install", "--editable", str(ROOT))
    (folder / "ready").touch()
    return folder


def bare(suite: Suite) -> str:
    """Return the name of a suite's distribution, without extras and version."""
    return suite.sdist.partition("=")[0].partition("[")[0]


def python(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def run(name: str, suite: Suite, folder: Path, exporter: str | None, timeout: float) -> results.Results:
    """Run a suite, under ``obskit run`` where there is an ``exporter``. What it prints is kept beside its results."""
    way = "with" if exporter else "without"
    file = folder / f"{way}.xml"
    file.unlink(missing_ok=True)
    begin = ["-m", "obskit", "run", "--", str(python(folder))] if exporter else []
    command = [str(python(folder)), *begin, *suite.command(str(file))]
    variables = {"OBSKIT_EXPORTER": exporter, "OBSKIT_SERVICE": name, **suite.options} if exporter else {}
    where = folder / "source" / suite.where
    with open(folder / f"{way}.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=where, env=_environment() | variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            print(f"{name}: {way} obskit it did not end within {timeout:.0f} s", flush=True)
        finally:
            _end(process)
    return results.read(file)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a run, children included."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OBSKIT_", "OTEL_", "VIRTUAL_ENV"))}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _pip(folder: Path, *arguments: str) -> None:
    _command(str(python(folder)), "-m", "pip", *arguments)


def _command(*command: str) -> str:
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(f"{' '.join(command)}: {(done.stderr.strip() or done.stdout.strip())[-500:]}")
    return done.stdout
