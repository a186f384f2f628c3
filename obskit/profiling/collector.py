"""Posts profiles to an obskit collector, in a format that Pyroscope accepts, too; also to a folder if one is named."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote

from obskit.base.failures import tell
from obskit.export.net.http_sender import HttpSender

if TYPE_CHECKING:
    from obskit.profiling.folder import Assignment, FolderOutput, Stop, Turns

_HEADERS = {"Content-Type": "application/octet-stream", "b3": "0", "User-Agent": "obskit"}
_TIMEOUT = 10.0


class CollectorOutput:
    """Posts each profile. One that does not arrive counts as lost, unless it was written to ``folder``."""

    def __init__(self, url: str, service: str, version: str | None, turns: Turns, folder: FolderOutput | None) -> None:
        name = quote(service + _labels(version), safe="")
        self._sender = HttpSender(f"{url}/ingest?name={name}&format=pprof", _HEADERS)
        self._turns = turns
        self._folder = folder
        self._told = False

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Wait until the next profile is due, or requested by a file in the folder."""
        return self._folder.wait_turn(stop) if self._folder is not None else self._turns.wait(stop)

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Post a profile, and write it to the folder, if any. Raises OSError."""
        outcome = self._sender.post(profile, monotonic() + _TIMEOUT)
        if outcome.reason and not self._told:
            self._told = True
            tell(logging.WARNING, "the collector has not taken a profile (%s); later ones are tried", outcome.detail)
        written = self._folder is not None and self._folder.deliver(assignment, profile)
        return written or not outcome.reason


def _labels(version: str | None) -> str:
    """Return the labels of all samples behind a service's name: ``{service.version="1.4.2"}``."""
    text = (version or "").replace('"', "'")
    return f'{{service.version="{text}"}}' if version else ""
