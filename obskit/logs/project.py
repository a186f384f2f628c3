"""Finds the Google Cloud project of the traces in log lines, if no option and no variable names it.

Cloud Logging links ``projects/PROJECT/traces/ID`` to a trace. A key file contains its project; Cloud Run and GKE have a
metadata server, which is queried on a thread of its own. Until it answers, lines carry the trace id alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from time import monotonic, sleep
from typing import TYPE_CHECKING

from obskit.base.failures import failed
from obskit.base.fork_lock import no_fork
from obskit.base.native_threads import start_thread
from obskit.base.process import on_fork
from obskit.export.gcp.surroundings import may_have_metadata

if TYPE_CHECKING:
    from obskit.logs.entry import EntryBuilder

_PAUSES = (0.0, 1.0, 5.0, 30.0)
_DEADLINE = 2.0
_asking: list[EntryBuilder] = []


def find_project(builder: EntryBuilder, environ: Mapping[str, str]) -> None:
    """Set the project of ``builder`` from the key file, or from the metadata server once it answers."""
    _asking.clear()
    key_file = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    project = _of_key_file(key_file) if key_file else None
    if project:
        builder.set_project(project)
    elif may_have_metadata(environ):
        _asking.append(builder)
        _start()


def _of_key_file(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            found = json.load(file).get("project_id")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _start() -> None:
    """Start the query, once in each process: a forked child does not have this thread."""
    if _asking:
        try:
            start_thread("obskit-project", _ask, _asking[0])
        except RuntimeError:  # no thread can be started any more
            failed("asking for the Google Cloud project")


def _ask(builder: EntryBuilder) -> None:
    try:
        with no_fork():
            from obskit.export.gcp.metadata import Metadata
        for pause in _PAUSES:
            sleep(pause)
            project = Metadata(os.environ, monotonic() + _DEADLINE).get("project/project-id")
            if project or builder not in _asking:
                break
        builder.set_project(project)
        _asking.clear()
    except Exception:
        failed("asking for the Google Cloud project")


on_fork(_start)
