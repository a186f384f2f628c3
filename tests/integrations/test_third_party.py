"""Integrations of other packages, really built and installed into a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/integrations/third-party.md").read_text()
BLOCKS = dict(zip(("toml", "module", "test"), re.findall(r"(?ms)^```\w+\n(.*?)^```$", PAGE), strict=True))

PATCHING = """
MODULES = ("colorsys",)
def install(module, patches):
    patches.wrap(module, "rgb_to_hls", lambda wrapped, _, args, kwargs: "patched")
"""
PROGRAM = """
import sys, logging
logging.basicConfig(format="%(levelname)s %(message)s", level="INFO")
import obskit
options = dict(exporter="none", logs="off") | eval(sys.argv[1])
for _ in range(2):
    obskit.init(**options)
import colorsys
print(colorsys.rgb_to_hls(0, 0, 0) == "patched", "obskit_good" in sys.modules)
obskit.init(sample_rate=0.5)
obskit.shutdown(unpatch=True)
print(colorsys.rgb_to_hls(0, 0, 0) == "patched")
"""


def built(folder: Path) -> Path:
    """Build the example's wheel, and unpack it: which is what installing is."""
    (folder / "pyproject.toml").write_text(BLOCKS["toml"])
    (folder / "obskit_httpcore.py").write_text(BLOCKS["module"])
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(folder / done.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def brought(folder: Path, **texts: str) -> Path:
    """Lay down what pip leaves of packages with one integration each."""
    for name, text in texts.items():
        (metadata := folder / f"obskit_{name}-1.dist-info").mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: obskit-{name}\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(f"[obskit.integrations]\n{name} = obskit_{name}\n")
        (folder / f"obskit_{name}.py").write_text(text)
    return folder


def run(site: Path, options: str) -> tuple[list[str], str]:
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", PROGRAM, options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_the_example_of_the_documentation_keeps_its_contract(tmp_path: Path) -> None:
    pytest.importorskip("httpcore")
    pytest.importorskip("setuptools", minversion="77")
    site = built(tmp_path)
    (tmp_path / (test := "test_obskit_httpcore.py")).write_text(BLOCKS["test"])
    command = [sys.executable, "-m", "pytest", "-q", "-rx", "-p", "no:cacheprovider", "-W", "error", test]
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 40  # as many as obskit's own clients
    assert "httpcore follows no redirects" in done.stdout


def test_the_example_is_as_long_as_it_looks() -> None:
    assert (len(BLOCKS["module"].splitlines()), len(BLOCKS["test"].splitlines())) <= (52, 25)


def test_init_installs_what_a_package_brings_and_takes_it_back(tmp_path: Path) -> None:
    printed, said = run(brought(tmp_path, good=PATCHING), "{}")
    assert printed == ["True True", "False"]
    assert "WARNING" not in said


@pytest.mark.parametrize("options", ["{'disable': ['good']}", "{'integrations': ['flask']}", "{'enabled': False}"])
def test_an_integration_that_is_not_wanted_is_not_even_imported(options: str, tmp_path: Path) -> None:
    printed, _ = run(brought(tmp_path, good=PATCHING), options)
    assert printed == ["False False", "False"]


def test_an_integration_can_be_wanted_by_its_name(tmp_path: Path) -> None:
    printed, _ = run(brought(tmp_path, good=PATCHING), "{'integrations': ['good', 'flask']}")
    assert printed[0] == "True True"


BAD = {
    "raising": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "broken": ("1 +", "SyntaxError"),
    "text": ("MODULES = 'colorsys'", "MODULES is 'colorsys': make it a tuple"),
    "numbers": ("MODULES = ('colorsys', 5)", "MODULES is ('colorsys', 5): make it a tuple"),
    "nowhere": ("def install(module, patches): pass", "MODULES is None: make it a tuple"),
    "idle": ("MODULES = ('colorsys',)", "install is None: make it a function"),
    "short": ("MODULES = ('colorsys',)\ndef install(): pass", "takes 0 positional arguments"),
    "old": ("MODULES = ('colorsys',)\ndef install(module, patches): patches.wrap(module, 'no', 0)", "no 'no' to patch"),
}


def test_those_that_fail_are_told_once_each_and_stop_nothing(tmp_path: Path) -> None:
    printed, told = run(brought(tmp_path, **{name: text for name, (text, _) in BAD.items()}, good=PATCHING), "{}")
    assert printed == ["True True", "False"]
    assert told.count("WARNING") == len(BAD)
    for name, (_, said) in BAD.items():
        assert told.count(f"the integration {name!r} (obskit_{name}) raised; the application is not affected") == 1
        assert said in told


def test_one_with_the_name_of_ours_is_passed_over(tmp_path: Path) -> None:
    printed, _ = run(brought(tmp_path, flask=PATCHING), "{}")
    assert printed[0] == "False False"


def test_a_name_that_no_integration_has_is_an_error_that_names_those_installed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"names god, which is not one of .*, good, "):
        run(brought(tmp_path, good=PATCHING), "{'disable': ['god']}")


def test_what_cannot_be_read_of_the_metadata_stops_nothing(tmp_path: Path) -> None:
    if sys.version_info < (3, 11) and version("opentelemetry-api").startswith("1.40."):
        pytest.skip("OpenTelemetry 1.40 reads such metadata itself, and fails")
    brought(tmp_path, torn="", good=PATCHING)
    (tmp_path / "obskit_torn-1.dist-info/entry_points.txt").write_bytes(b"[obskit.integrations]\n=\n = ]\n\xff = \xfe")
    printed, _ = run(tmp_path, "{}")
    assert printed == ["True True", "False"]
