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
_TARGET = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(CODENAME) $(COMPONENT)"


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
        _source_of_debian(folder, suite.debian) if suite.debian else _sdist(folder, bare(suite))
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "unpacked", filter="data")
        [(folder / "unpacked").iterdir().__next__().rename(folder / "source")]
    else:
        (folder / "source").mkdir()
        if subprocess.run([python(folder), "-c", "import test.libregrtest"], capture_output=True).returncode:
            raise CannotRun("this Python comes without its tests (the module test)")
    if suite.before:
        _command(str(python(folder)), *suite.before, where=folder / "source" / suite.where)
    _pip(folder, "install", "--editable", str(ROOT))
    (folder / "ready").touch()
    return folder


def _sdist(folder: Path, name: str) -> None:
    """Download the sdist of what is installed."""
    version = _command(
        str(python(folder)), "-c", f"from importlib import metadata; print(metadata.version({name!r}))"
    ).strip()
    _pip(folder, "download", "--no-deps", "--no-binary", name, "--dest", str(folder), f"{name}=={version}")


def _source_of_debian(folder: Path, name: str) -> None:
    """Download a source package of Debian's, by lists of its own: machines seldom have those of sources."""
    if not shutil.which("apt-get"):
        raise CannotRun("its tests come from a source package of Debian's, and there is no apt-get")
    targets = _command("apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages", "Origin: Debian")
    (folder / "apt" / "partial").mkdir(parents=True)
    (folder / "sources.list").write_text(targets.partition("\n")[0])
    places = {"SourceList": "sources.list", "SourceParts": "/dev/null"}
    options = [f"--option=Dir::Etc::{key}={folder / value}" for key, value in places.items()]
    options.append(f"--option=Dir::State::Lists={folder / 'apt'}")
    _command("apt-get", *options, "update")
    _command("apt-get", *options, "source", "--download-only", name, where=folder)


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
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "ASYNC_TEST_TIMEOUT": "25"}  # Tornado's, for busy machines


def _pip(folder: Path, *arguments: str) -> None:
    _command(str(python(folder)), "-m", "pip", *arguments)


def _command(*command: str, where: Path | None = None) -> str:
    done = subprocess.run(command, cwd=where, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(f"{' '.join(command)}: {(done.stderr.strip() or done.stdout.strip())[-500:]}")
    return done.stdout
