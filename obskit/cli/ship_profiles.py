"""``obskit ship --profiles FOLDER``: sends profiles to a collector, which stores each once."""

from __future__ import annotations

import os
import re
import sys
import time
from urllib.parse import quote

from obskit.export.net.http_sender import HttpSender

_FAILED = 1
_TIMEOUT = 30.0
_SUFFIX = ".pprof.gz"
_is_ours = re.compile(r"(.+)-(?:cpu|wall|heap)-\d{8}T\d{6}.*").fullmatch
_HEADERS = {"Content-Type": "application/octet-stream", "User-Agent": "obskit"}


def send_profiles(folder: str, url: str, service: str) -> int:
    """Send each file; return 0, or 1 if one could not be read or sent, which is printed."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX))
    except OSError as error:
        return _fail(f"{folder}: {error.strerror}")
    problems = [problem for name in names if (problem := _send(os.path.join(folder, name), url, service))]
    for problem in problems[:3]:
        _fail(problem)
    print(f"obskit ship: {len(names) - len(problems)} of {len(names)} profiles sent to {url}/profiles", file=sys.stderr)
    return _FAILED if problems else 0


def _send(path: str, url: str, service: str) -> str:
    """Send a file; return the error, or an empty string."""
    stem = os.path.basename(path).removesuffix(_SUFFIX)
    found = _is_ours(stem)
    name = service or (found[1] if found else stem)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        return f"{path}: {error.strerror}"
    problem = post_profile(content, url, name)
    return f"{path}: {problem}" if problem else ""


def post_profile(content: bytes, url: str, service: str) -> str:
    """Send a profile; return the error, or an empty string."""
    sender = HttpSender(f"{url}/ingest?name={quote(service, safe='')}&format=pprof", _HEADERS)
    try:
        outcome = sender.post(content, time.monotonic() + _TIMEOUT)
    finally:
        sender.close()
    return outcome.detail if outcome.reason else ""


def _fail(message: str) -> int:
    print(f"obskit ship: {message}", file=sys.stderr)
    return _FAILED
