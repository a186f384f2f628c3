"""Sends spans to Cloud Trace (``POST /v2/projects/PROJECT/traces:batchWrite``), and reads ``cloudtrace://`` URLs."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from obskit.base.failures import tell
from obskit.base.values import one_line
from obskit.export.cloud_trace.translation import Unacceptable, add, check, fit, translate
from obskit.export.delivery.attempts import send_in_halves
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.gcp.account import Account, Failed, find_account
from obskit.export.gcp.endpoint import ApiEndpoint, find_endpoint
from obskit.export.gcp.metadata import Metadata
from obskit.export.net.http_client import Answer, HttpClient, Unreachable
from obskit.export.net.http_sender import outcome
from obskit.export.zipkin.translation import Convert

_SCHEME = "cloudtrace://"
_ENDPOINT = "OBSKIT_CLOUDTRACE_ENDPOINT"
_GOOGLE = "https://cloudtrace.googleapis.com"
_is_project = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9-]+").fullmatch  # before the colon: a domain, in some old ids


class CloudTraceTarget(NamedTuple):
    """The destination; without a project, that of the metadata server or the credentials."""

    endpoint: ApiEndpoint
    project: str


def parse_url(url: str, environ: Mapping[str, str]) -> CloudTraceTarget:
    """Return what ``url`` means. Raises ValueError."""
    named = url.removeprefix(_SCHEME).rstrip("/")
    if named and not _is_project(named):
        raise ValueError(f"what follows {_SCHEME} is not the id of a Google Cloud project; write {_SCHEME}PROJECT")
    return CloudTraceTarget(find_endpoint(_ENDPOINT, _GOOGLE, environ), named)


_SCOPES = ("https://www.googleapis.com/auth/trace.append",)
_HEADERS = {"Content-Type": "application/json", "User-Agent": "obskit"}
_PREFIX = b'{"name":"projects/'
_AGENT = "obskit"
_ASK_METADATA = 2.0  # seconds
_MOST_PARTS = 100
_TOO_BAD = frozenset([400, 413])
_NO_PROJECT = Outcome("no_project", "no Google Cloud project is known: write cloudtrace://PROJECT", retry=True)
_HINTS = {
    401: "the credentials were renewed, and refused again",
    403: "the account needs the role roles/cloudtrace.agent in project {}, where the Cloud Trace API is enabled",
    404: "is {} the id of the project?",
}


class CloudTraceExporter:
    """Writes spans of the API v2. Credentials and project are found when the first are sent."""

    batch_items = 2000
    batch_bytes = 1_000_000

    def __init__(self, target: CloudTraceTarget, convert: Convert) -> None:
        self._endpoint = target.endpoint
        self._project = target.project
        self._convert = convert
        self._client = HttpClient(target.endpoint.address)
        self._base = urlsplit(target.endpoint.address).path
        self._account: Account | None = None
        self._told = False

    def encode(self, span: Any) -> bytes:
        """Return the span's JSON after ``projects/``, as only ``send`` knows the project; empty if it is invalid."""
        given = self._convert(span)
        try:
            check(given, time.time_ns() // 1000)
        except Unacceptable as reason:
            self._tell(str(reason))
            return b""
        made = translate(given, "", _AGENT)
        add(made, given)
        fit(made)
        return msgspec.json.encode(made)[len(_PREFIX) :]

    def size(self, item: bytes) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Write the spans."""
        spans = [item for item in items if item]
        try:
            refused = self._write(spans, deadline) if spans else 0
        except Failed as failed:
            return failed.outcome
        return DELIVERED._replace(rejected=refused + len(items) - len(spans))

    def close(self) -> None:
        """Close the connections."""
        self._account = None
        self._client.close()

    def log_in(self, timeout: float) -> Outcome:
        """Find the account and get a token now, as ``send`` does; return DELIVERED, or what is wrong."""
        deadline = monotonic() + timeout
        named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        try:
            account = self._find_account(deadline)
        except Failed as failed:  # a file that is wrong stays so, while a metadata server may come up
            return failed.outcome._replace(retry=failed.outcome.retry and not named)
        try:
            account.headers(max(0.001, deadline - monotonic()))
        except Failed as failed:
            return failed.outcome
        return DELIVERED

    def _write(self, spans: list[bytes], deadline: float) -> int:
        """Write the spans, and return how many of them the API refused. Raises Failed.

        The API accepts all of a request or nothing, so if it refuses, each half is tried. Spans written before a
        failure are written again, which has no further effect.
        """
        refused = 0

        def is_refused(part: list[bytes], last: bool) -> bool:
            nonlocal refused
            answer = self._post(part, deadline)
            if answer.status not in _TOO_BAD:
                self._raise_for(answer)
                return False
            if last:
                refused += len(part)
                self._tell(_message(answer))
            return True

        send_in_halves(spans, is_refused, _MOST_PARTS)
        return refused

    def _post(self, spans: list[bytes], deadline: float) -> Answer:
        """Make a request; if the credentials are refused, once more with refreshed ones. Raises Failed."""
        account = self._account or self._find_account(deadline)
        answer = self._request(spans, account, deadline)
        if answer.status == 401:
            account.expire()
            answer = self._request(spans, account, deadline)
        return answer

    def _request(self, spans: list[bytes], account: Account, deadline: float) -> Answer:
        path = f"{self._base}/v2/projects/{quote(self._project, ':')}/traces:batchWrite"
        head = _PREFIX + msgspec.json.encode(self._project)[1:-1]
        body = b'{"spans":[' + b",".join(head + span for span in spans) + b"]}"
        headers = {**_HEADERS, **account.headers(max(0.001, deadline - monotonic()))}
        try:
            return self._client.exchange("POST", path, body, headers, deadline)
        except Unreachable as error:
            raise Failed(Outcome(UNREACHABLE, str(error), retry=True)) from error

    def _find_account(self, deadline: float) -> Account:
        """Find the credentials and the project. Raises Failed."""
        timeout = max(0.001, deadline - monotonic())
        account = find_account(_SCOPES, None, self._endpoint.anonymous, timeout)
        if not self._project:
            metadata = Metadata(os.environ, min(deadline, monotonic() + _ASK_METADATA))
            self._project = metadata.get("project/project-id") or account.project or ""
        if not self._project:
            raise Failed(_NO_PROJECT)
        self._account = account
        return account

    def _raise_for(self, answer: Answer) -> None:
        """Raise Failed, unless the spans were accepted."""
        found = outcome(answer)
        if found.reason:
            hint = _HINTS.get(answer.status, "").format(self._project)
            raise Failed(found._replace(detail="; ".join(filter(None, (_message(answer), hint)))))

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            tell(logging.WARNING, "Cloud Trace takes no such span: %s; others are counted only, as rejected", reason)


def _message(answer: Answer) -> str:
    """Return the status and what Google says of it."""
    try:
        said = msgspec.json.decode(answer.body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        said = answer.body[:200].decode("utf-8", "replace")
    return f"{answer.status} {one_line(said)}" if said else str(answer.status)
