"""``make battery-peers``: other libraries through the same cases, and the table in docs/reliability.md.

The libraries are installed in their newest releases into an environment of their own, ``.venvs/peers``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys

from tests.battery.lab import OBSKIT, ROOT
from tests.battery.page import case_table, escaped, write
from tests.battery.registry import CASES
from tests.battery.runner import PASSED, SKIPPED, Result, run_case

FOLDER = ROOT / ".venvs" / "peers"
PYTHON = str(FOLDER / "bin" / "python")
_STAMP = FOLDER / "requirements"
_RESULTS = FOLDER / "results.json"  # kept, so that one case or library can be run anew; gone with the environment
_LONGEST_CELL = 90
_PEERS = {
    "with_opentelemetry": "opentelemetry-sdk",
    "with_sentry": "sentry-sdk",
    "with_ddtrace": "ddtrace",
    "with_elastic": "elastic-apm",
    "with_py_zipkin": "py-zipkin",
}
_SIDES = {OBSKIT: "obskit", **_PEERS}
_REQUIREMENTS = (
    *_PEERS.values(),
    "opentelemetry-exporter-zipkin-json",
    "opentelemetry-instrumentation-requests",
    "celery",
    "requests",
)
_HOOKLESS = {26: ("with_ddtrace", "with_elastic", "with_py_zipkin"), 27: ("with_elastic", "with_py_zipkin")}
_OTHER_FORMATS = ("with_sentry", "with_ddtrace", "with_elastic")
_CLOCK = 23
Outcome = tuple[str, str]
"""Passed, failed or skipped, and the figure or the reason."""


def prepare() -> None:
    """Make the environment where it is missing or holds something else."""
    wanted = "\n".join([sys.version, *_REQUIREMENTS])
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    pip = (PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
    _run(*pip, "install", str(ROOT), *_REQUIREMENTS)
    _run(*pip, "uninstall", "--yes", "obskit")  # what it needs stays; the code is the checkout's
    _STAMP.write_text(wanted)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def versions() -> dict[str, str]:
    """Return the version of each peer."""
    code = f"from importlib.metadata import version\nfor name in {tuple(_PEERS.values())}: print(name, version(name))"
    return dict(line.split() for line in _run(PYTHON, "-c", code).splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(prog="make battery-peers", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="only these cases anew")
    parser.add_argument("--only", choices=["obskit", *_PEERS.values()], help="only this library anew")
    arguments = parser.parse_args()
    prepare()
    found = _read()
    for number in arguments.numbers or [case.number for case in CASES.values() if case.peers]:
        for side, name in _SIDES.items():
            if arguments.only in (None, name):
                found[_key(number, side)] = _outcome(number, side)
    _RESULTS.write_text(json.dumps(found, indent=1))
    write("cases", case_table())
    write("results", _table(found))
    return 0


def _read() -> dict[str, Outcome]:
    """Return what was found before with these versions."""
    return json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}


def _key(number: int, side: str) -> str:
    return f"{number} {side}"


def _outcome(number: int, side: str) -> Outcome:
    case = CASES[number]
    if side in _HOOKLESS.get(number, ()):
        result = Result(case, SKIPPED, "has no such hook", 0.0)
    elif number == _CLOCK and side in _OTHER_FORMATS:
        result = Result(case, SKIPPED, "not Zipkin's format", 0.0)
    else:
        result = run_case(case, side, sys.executable if side == OBSKIT else PYTHON)
    print(f"{_SIDES[side]:<18} {result}", flush=True)
    return result.result, result.figure


def _table(found: dict[str, Outcome]) -> str:
    known = versions()
    names = [f"{name} {known[name]}" if name in known else name for name in _SIDES.values()]
    lines = [
        f"{datetime.datetime.now(datetime.timezone.utc):%-d %B %Y}, CPython {platform.python_version()}, "
        f"{platform.system()}, {os.cpu_count()} cores.",
        "",
        "| case | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for number in sorted({int(key.split()[0]) for key in found}):
        cells = " | ".join(_cell(found.get(_key(number, side))) for side in _SIDES)
        lines.append(f"| {number} {CASES[number].name} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    result, figure = outcome
    text = figure if len(figure) <= _LONGEST_CELL else figure[: _LONGEST_CELL - 3] + "..."
    return escaped(text) if result in (PASSED, SKIPPED) else f"**failed**: {escaped(text)}"


if __name__ == "__main__":
    sys.exit(main())
