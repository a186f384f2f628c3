"""The `obskit` command itself: its options, and what bad usage looks like."""

import subprocess
import sys

import pytest

import obskit


def command(*args):
    return subprocess.run([sys.executable, "-m", "obskit", *args], capture_output=True, text=True, timeout=60)


def test_it_says_its_version():
    done = command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"obskit {obskit.__version__}\n", "")


def test_help_names_every_command():
    done = command("--help")
    assert done.returncode == 0
    assert all(f"\n    {name}" in done.stdout for name in ("run", "collector", "demo"))


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([], "COMMAND"),
        (["dmeo"], "'dmeo'"),
        (["--verison"], "--verison"),
        (["demo", "--jsn"], "--jsn"),
        (["demo", "--js"], "--js"),
        (["demo", "--once=yes"], "--once"),
        (["demo", "now"], "now"),
        (["run"], "COMMAND"),
        (["run", "--"], "COMMAND"),
        (["run", "--fast", "true"], "--fast"),
        (["collector", "--port"], "--port"),
        (["collector", "--port", "x"], "--port"),
    ],
)
def test_bad_usage_is_status_2_and_one_line_which_names_what_is_wrong(args, named):
    done = command(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("obskit")
    assert named in done.stderr


def test_help_imports_no_server_and_no_database():
    code = "import sys, obskit.cli\ntry: obskit.cli.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert not {"starlette", "uvicorn", "sqlite3", "msgspec", "flask"} & set(done.stdout.split())
