"""What several cases need."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec

from tests.battery.registry import Skipped


def need(*modules: str) -> None:
    """Skip the case where a library is not installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


def need_namespaces() -> None:
    """Skip the case where a process cannot have a network and mounts of its own."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        raise Skipped("needs unshare and ip")
    made = subprocess.run(["unshare", "-rnm", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        raise Skipped(f"no namespaces here: {made.stderr.strip()}")


def shell(script: str, *flags: str) -> tuple[str, ...]:
    """Return a command to run a program by: in namespaces of its own, after ``script``."""
    return ("unshare", *flags, "sh", "-ec", f'{script}; exec "$0" "$@"')
