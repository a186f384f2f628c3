"""What is built from this checkout is complete, and installs as obskit and nothing else."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
NOT_PACKAGED = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")


class Built(NamedTuple):
    source: Path
    wheel: Path
    sdist: Path
    wheel_from_sdist: Path


def run(*command: str | Path, cwd: Path, timeout: float = 120) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment, timeout=timeout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}"
    return done.stdout


def copy_checkout(to: Path) -> Path:
    """Only what the build may need: a build in the checkout itself would reuse what earlier builds left there."""
    for name in ("obskit", "examples", "integrations"):
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=NOT_PACKAGED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to)
    return to


def build(source: Path, out: Path, *options: str) -> Path:
    run(sys.executable, "-Im", "build", "--no-isolation", "--outdir", out, *options, source, cwd=out.parent)
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("build")
    source = copy_checkout(folder / "source")
    indirect, direct = build(source, folder / "indirect"), build(source, folder / "direct", "--wheel")
    [wheel], [sdist], [wheel_from_sdist] = direct.glob("*.whl"), indirect.glob("*.tar.gz"), indirect.glob("*.whl")
    return Built(source, wheel, sdist, wheel_from_sdist)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with its own pip, where this one's packages can be imported, except obskit itself."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    others = folder / "others"
    others.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "obskit" not in entry.name and not entry.name.startswith(("pip", "_virtualenv")):
            (others / entry.name).symlink_to(entry)
    [site_packages] = (folder / "venv").glob("lib/python*/site-packages")
    # First, not last: up to CPython 3.11 the environment has an old setuptools of its own.
    (site_packages / "others.pth").write_text(f"import sys; sys.path.insert(0, {str(others)!r})\n")
    return folder / "venv" / "bin" / "python"


def shipped_files() -> set[str]:
    """Every file that belongs to a package, as a path in the wheel."""
    roots = {"obskit": ROOT / "obskit", **{f"obskit/{name}": ROOT / name for name in ("examples", "integrations")}}
    return {
        f"{prefix}/{file.relative_to(folder).as_posix()}"
        for prefix, folder in roots.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def wheel_contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_names(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def in_sdist(name: str) -> str:
    return name.removeprefix("obskit/") if name.startswith(("obskit/examples/", "obskit/integrations/")) else name


def test_every_folder_of_python_modules_is_a_package() -> None:
    folders = {name.rpartition("/")[0] for name in shipped_files() if name.endswith(".py")}
    assert {f"{folder}/__init__.py" for folder in folders} <= shipped_files()


def test_the_wheel_has_every_module_and_data_file_and_no_other(built: Built) -> None:
    files = {name for name in wheel_contents(built.wheel) if ".dist-info/" not in name}
    assert files == shipped_files()


def test_the_sdist_has_every_module_and_data_file(built: Built) -> None:
    assert {in_sdist(name) for name in shipped_files()} <= sdist_names(built.sdist)


def test_the_sdist_has_licence_readme_and_build_configuration(built: Built) -> None:
    assert {"LICENSE", "README.md", "pyproject.toml"} <= sdist_names(built.sdist)


def test_the_wheel_made_from_the_sdist_is_the_same(built: Built) -> None:
    assert wheel_contents(built.wheel_from_sdist) == wheel_contents(built.wheel)


def test_the_package_tells_type_checkers_that_it_is_typed(built: Built) -> None:
    assert "obskit/py.typed" in wheel_contents(built.wheel)


def test_the_wheel_offers_the_obskit_command(built: Built) -> None:
    [text] = [data for name, data in wheel_contents(built.wheel).items() if name.endswith("/entry_points.txt")]
    entry_points = configparser.ConfigParser()
    entry_points.read_string(text.decode())
    assert entry_points["console_scripts"]["obskit"] == "obskit.cli:main"


def pip(python: Path, *arguments: str | Path, timeout: float = 120) -> str:
    command = (python, "-Im", "pip", "--disable-pip-version-check", *arguments)
    return run(*command, cwd=python.parent, timeout=timeout)


def install(python: Path, *what: str | Path) -> None:
    pip(python, "install", "--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall", *what)


def imported_from(python: Path, module: str) -> Path:
    return Path(run(python, "-c", f"import {module} as m; print(m.__file__)", cwd=Path("/")).strip())


def test_an_installed_wheel_imports_its_integrations_and_has_the_command(built: Built, python: Path) -> None:
    install(python, built.wheel)
    assert imported_from(python, "obskit.integrations").is_relative_to(python.parent.parent / "lib")
    assert (python.parent / "obskit").exists()


def test_an_editable_install_imports_obskit_integrations_from_anywhere(built: Built, python: Path) -> None:
    install(python, "--editable", built.source)
    assert imported_from(python, "obskit").is_relative_to(built.source)
    assert imported_from(python, "obskit.integrations").is_relative_to(built.source)


def test_a_checkout_without_symlinks_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    source = copy_checkout(tmp_path / "source")
    for name in ("examples", "integrations"):
        (source / "obskit" / name).unlink()
    [wheel] = build(source, tmp_path / "out", "--wheel").glob("*.whl")
    assert wheel_contents(wheel) == wheel_contents(built.wheel)


def test_importing_integrations_under_its_folder_name_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", "import integrations"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: import obskit.integrations, not 'integrations'" in done.stderr


@pytest.mark.skipif("CI" not in os.environ, reason="asks the package index and takes a minute: set CI=true to run it")
@pytest.mark.parametrize("extra", ["all", "dev"])
def test_the_pip_that_came_with_this_python_need_not_try_many_versions(extra: str, built: Built, python: Path) -> None:
    """Counts what pip looks at, not seconds: an old resolver tries every version that loose lower bounds let in."""
    if extra == "all" and sys.version_info >= (3, 15):
        pytest.skip("confluent-kafka has no wheels for this Python yet")
    options = ("--dry-run", "--ignore-installed", "--progress-bar=off", "--retries=1")
    try:
        output = pip(python, "install", *options, f"{built.wheel}[{extra}]", timeout=300)
    except AssertionError as failure:
        if "from versions: none" in str(failure):
            pytest.skip("no package index within reach")
        raise
    versions: dict[str, set[str]] = {}
    for project, version in re.findall(
        r"(?:Downloading|Using cached) ([^\s-]+)-([^\s-]+)\S*\.(?:whl|tar\.gz)\b", output
    ):
        versions.setdefault(project, set()).add(version)
    assert versions, output
    # Half a family of packages may be published before the rest: pip then goes back a few releases, in an order that
    # differs from run to run. Bounds that are too loose make it try every release there is, thirty and more.
    many = {project: sorted(tried) for project, tried in versions.items() if len(tried) > 10}
    assert not many, many
