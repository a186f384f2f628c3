"""Delivers entries to Cloud Logging, on the worker thread, with the pipeline's batches, retries and deadlines."""

from __future__ import annotations

import logging
import os
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from obskit.base.failures import tell
from obskit.export.delivery.attempts import send_in_halves
from obskit.export.delivery.exporter import DELIVERED, Outcome
from obskit.export.gcp.account import Failed, delivering, find_account
from obskit.export.gcp.endpoint import ApiEndpoint
from obskit.logs.cloud.entry import to_entry
from obskit.logs.cloud.monitored_resource import Resource, detect

if TYPE_CHECKING:
    from obskit.logs.cloud.client import EntryWriter

_SCOPES = ("https://www.googleapis.com/auth/logging.write",)
_DETECTION = 2.0
_ASK_AGAIN = 30.0
_MOST_PARTS = 100
_NOT_INSTALLED = Outcome("not_installed", "google-cloud-logging is missing: pip install 'obskit[gcp]'")
_NO_PROJECT = Outcome("no_project", "no Google Cloud project is known: give project=, or GOOGLE_CLOUD_PROJECT", True)


class LogTarget(NamedTuple):
    """Where entries go; None means: from the environment, the metadata server or the credentials."""

    endpoint: ApiEndpoint
    log: str
    project: str | None
    key_file: str | None
    resource: Resource | None


class CloudExporter:
    """Writes the formatter's lines as entries of one log. Connects when the first are sent."""

    batch_items = 1000
    batch_bytes = 500_000

    def __init__(self, target: LogTarget) -> None:
        self._target = target
        self._resource = target.resource
        self._ask_at = 0.0
        self._project = ""
        self._writer: EntryWriter | None = None
        self._told = False

    def encode(self, line: bytes) -> bytes:
        """Return the line unchanged: an entry needs the project, which is known in ``send`` only."""
        return line

    def size(self, item: bytes) -> int:
        """Return the line's length, about the same as the entry's."""
        return len(item)

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Write the entries of these lines."""
        try:
            with delivering():
                return self._send(items, deadline)
        except ImportError as error:
            return _NOT_INSTALLED._replace(detail=f"{_NOT_INSTALLED.detail} ({error})")

    def close(self) -> None:
        """Close the connection."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _send(self, items: list[bytes], deadline: float) -> Outcome:
        try:
            writer = self._writer or self._connect(deadline)
            if not self._project:
                return _NO_PROJECT
            refused = self._write(writer, [to_entry(line, self._project) for line in items], deadline)
        except Failed as failed:
            return failed.outcome
        return DELIVERED._replace(rejected=refused)

    def _connect(self, deadline: float) -> EntryWriter:
        """Find the monitored resource, the project and the credentials, and make the client. Raises Failed."""
        from obskit.logs.cloud.client import EntryWriter

        target = self._target
        resource = self._identify(deadline)
        account = find_account(_SCOPES, target.key_file, target.endpoint.anonymous, deadline - monotonic())
        self._project = target.project or resource.project or account.project or ""
        writer = EntryWriter(target.endpoint, account)
        if self._project:
            self._writer = writer
        return writer

    def _identify(self, deadline: float) -> Resource:
        """Return the resource; if the metadata server left it incomplete, ask again now and then."""
        now = monotonic()
        if self._resource is None or (self._resource.partial and now >= self._ask_at):
            self._resource = detect(self._target.project, os.environ, min(deadline, now + _DETECTION))
            self._ask_at = monotonic() + _ASK_AGAIN
        return self._resource

    def _write(self, writer: EntryWriter, entries: list[dict[str, Any]], deadline: float) -> int:
        """Write the entries, and return how many of them the API refused. Raises Failed.

        If the API names the refused entries, it has accepted the others. If it names none, each half is tried. Entries
        written before a failure are written again, with the same ids, so that Cloud Logging drops the duplicates.
        """
        from obskit.logs.cloud.client import Refused

        refused = 0

        def is_refused(part: list[dict[str, Any]], last: bool) -> bool:
            nonlocal refused
            try:
                writer.write(self._request(part, deadline), max(0.001, deadline - monotonic()))
            except Refused as refusal:
                if not (refusal.entries or last):
                    return True
                refused += len(refusal.entries) or len(part)
                self._tell(refusal)
            return False

        send_in_halves(entries, is_refused, _MOST_PARTS)
        return refused

    def _request(self, entries: list[dict[str, Any]], deadline: float) -> dict[str, Any]:
        resource = self._identify(deadline)
        return {
            "logName": f"projects/{self._project}/logs/{self._target.log}",
            "resource": {"type": resource.kind, "labels": {"project_id": self._project, **resource.labels}},
            "labels": resource.entry_labels,
            "entries": entries,
            "partialSuccess": True,
        }

    def _tell(self, refusal: Exception) -> None:
        if not self._told:
            self._told = True
            tell(logging.WARNING, "Cloud Logging refuses a log entry: %s; others are counted only", refusal)
