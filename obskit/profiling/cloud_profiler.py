"""Uploads to Cloud Profiler, with the protocol of Google's own agents.

An instance asks to create a profile. The server holds that request until it wants a profile of one of the offered types
from this instance, or refuses it for a while. The profile that the instance then takes is uploaded to the given name.

Source: the API's description (cloudprofiler.googleapis.com, v2) and what google-cloud-profiler 4.1.0 sends.
"""

from __future__ import annotations

import base64
import logging
import os
import re
from collections import Counter
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote

from obskit.base.failures import failed, tell
from obskit.base.resource_attributes import resource_attributes
from obskit.base.values import one_line
from obskit.export.delivery.attempts import Backoff
from obskit.export.gcp.account import Account, Failed, find_account
from obskit.export.gcp.metadata import Metadata
from obskit.export.net.http_client import Unreachable
from obskit.profiling.cloud_profiler_api import CREDENTIALS, Api, Refusal, Stopped, seconds
from obskit.profiling.cloud_profiler_endpoint import find_api, quietly, service_name
from obskit.profiling.outputs import Assignment, Stop

_SCOPES = ("https://www.googleapis.com/auth/monitoring.write",)

# Seconds
_LOOK_UPS = 2.0
_LONGEST_HANG = 3600.0
_UPLOAD, _UPLOAD_ATTEMPT = 60.0, 20.0
_UPLOAD_PAUSE = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
_LONGEST_PROFILE = 3600.0

_TURNED_AWAY = 409  # ABORTED: no profile was wanted within about a minute
_MAY_PASS = frozenset([408, 429, 500, 502, 503, 504])
_LONGEST_LABEL = 400  # bytes; the API's limit is 512, and 1024 for all labels
_PROFILE_NAME = re.compile(r"projects/[!-.0->@-~]+/profiles/[!-.0->@-~]+")  # printable ASCII except / and ?
_ZONE = "cloud.availability_zone"
_ASKING, _UPLOADING = "Asking Cloud Profiler for a turn", "Uploading a profile to Cloud Profiler"


class CloudProfilerOutput:
    """Waits until Cloud Profiler wants profiles of ``types``, and uploads them. Not thread-safe.

    Project and zone are looked up on first use if they are not given. After a fork the child may use its copy. Raises
    ValueError for a bad OBSKIT_CLOUDPROFILER_ENDPOINT.
    """

    def __init__(
        self, types: tuple[str, ...], service: str, version: str | None = None, project: str | None = None
    ) -> None:
        self._endpoint = find_api(os.environ)
        self._types = types
        self._service = service_name(service)
        self._version = version
        self._project = project
        self._pid = os.getpid()
        self._api: Api | None = None
        self._deployment: dict[str, Any] | None = None
        self._turn: _Turn | None = None
        self._stop = Stop()
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._troubled: set[str] = set()
        self._counts: Counter[str] = Counter()

    def wait_turn(self, stop: Stop) -> Assignment | None:
        """Wait until the server wants a profile from this instance; return None if ``stop`` is set. Never raises.

        A waiting request notices ``stop`` within 0.2 seconds.
        """
        self._stop, self._turn = stop, None
        with quietly():
            while self._turn is None and not stop.asked:
                self._attempt()
        turn = self._turn
        return None if turn is None else Assignment(turn.profile_type, turn.duration)

    def deliver(self, assignment: Assignment, profile: bytes) -> bool:
        """Upload a gzip-compressed pprof for the last turn, and return whether it has arrived. Never raises.

        Takes at most a minute. Once ``stop`` is set, nothing is sent or waited for.
        """
        turn, self._turn = self._turn, None
        delivered = turn is not None and turn.profile_type == assignment.profile_type and self._upload(turn, profile)
        self._counts["delivered" if delivered else "lost"] += 1
        return delivered

    def stats(self) -> dict[str, int]:
        """Return the numbers of ``turns``, of profiles ``delivered`` and ``lost``, and of ``failures``."""
        return {name: self._counts[name] for name in ("turns", "delivered", "lost", "failures")}

    def _attempt(self) -> None:
        """Ask once; after a refusal wait for as long as it says."""
        try:
            self._turn = self._ask()
        except Exception as error:
            self._stop.wait(self._pause_after(error))

    def _ask(self) -> _Turn:
        """Ask for a turn. May raise any exception."""
        api = self._connect()
        deployment = self._deployment or self._identify(api.account)
        body = {"profileType": list(self._types), "deployment": deployment}
        path = f"projects/{quote(deployment['projectId'], safe=':')}/profiles"
        turn = _parse(api.call("POST", path, body, monotonic() + _LONGEST_HANG, self._stop), self._types)
        self._recover(_ASKING)
        self._counts["turns"] += 1
        return turn

    def _connect(self) -> Api:
        """Find credentials, once in each process. Raises Failed."""
        if self._pid != os.getpid():
            self._pid, self._api = os.getpid(), None
            self._counts.clear()
        if self._api is None:
            self._api = Api(self._endpoint, find_account(_SCOPES, None, self._endpoint.anonymous, CREDENTIALS))
        return self._api

    def _identify(self, account: Account) -> dict[str, Any]:
        """Return the deployment, cached unless a metadata server has not answered yet. Raises Failed."""
        metadata = Metadata(os.environ, monotonic() + _LOOK_UPS)
        project = self._project or account.project or metadata.get("project/project-id")
        if not project:
            raise Refusal(0, "no Google Cloud project is known: give project=, or GOOGLE_CLOUD_PROJECT", 0.0)
        zone = resource_attributes(os.environ).get(_ZONE) or metadata.last("instance/zone")
        labels = {"language": "python", "version": _label(self._version), "zone": _label(zone)}
        known = {name: value for name, value in labels.items() if value}
        deployment = {"projectId": project, "target": self._service, "labels": known}
        self._deployment = None if metadata.failed else deployment
        return deployment

    def _upload(self, turn: _Turn, profile: bytes) -> bool:
        """Upload, and retry after temporary failures."""
        body = {**turn.profile, "profileBytes": base64.b64encode(profile).decode()}
        deadline = monotonic() + _UPLOAD
        backoff = Backoff(_UPLOAD_PAUSE, _UPLOAD)
        with quietly():
            while error := self._try_upload(turn, body, min(deadline, monotonic() + _UPLOAD_ATTEMPT)):
                wait = _delay(error) or backoff.pause()
                if not _may_pass(error) or monotonic() + wait > deadline or self._stop.wait(wait):
                    return False
        return True

    def _try_upload(self, turn: _Turn, body: dict[str, Any], deadline: float) -> Exception | None:
        """Make one attempt, and return the error, or None."""
        try:
            self._connect().call("PATCH", turn.name, body, deadline, self._stop)
        except Exception as error:
            self._note(_UPLOADING, error)
            return error
        self._recover(_UPLOADING)
        return None

    def _pause_after(self, error: Exception) -> float:
        """Return how many seconds to wait: as the server says, else longer each time."""
        if isinstance(error, Refusal) and error.status == _TURNED_AWAY:
            self._recover(_ASKING)
        else:
            self._note(_ASKING, error)
        return _delay(error) or self._backoff.pause()

    def _note(self, what: str, error: Exception) -> None:
        """Count a failure, and log it unless the attempt before failed as well."""
        if isinstance(error, Stopped):
            return  # as told
        self._counts["failures"] += 1
        if not isinstance(error, (Refusal, Failed, Unreachable)):
            failed(what)
        elif what not in self._troubled:
            self._troubled.add(what)
            explained = isinstance(error, (Refusal, Failed))  # part of a line that ends with the remedy
            tell(logging.WARNING, "%s failed (%s)", what, error if explained else one_line(error))

    def _recover(self, what: str) -> None:
        self._backoff.reset()
        if what in self._troubled:
            self._troubled.remove(what)
            tell(logging.INFO, "%s works again", what)


class _Turn(NamedTuple):
    """The profile that the server wants; ``profile`` is its whole answer, which the upload repeats."""

    name: str
    profile_type: str
    duration: float
    profile: dict[str, Any]


def _label(value: str | None) -> str:
    """Return ``value``, truncated to the limit of labels."""
    return (value or "").encode("utf-8", "replace")[:_LONGEST_LABEL].decode("utf-8", "ignore")


def _parse(profile: dict[str, Any], types: tuple[str, ...]) -> _Turn:
    """Return the turn in the server's answer. Raises Refusal for an unusable one."""
    name, kind = str(profile.get("name")), str(profile.get("profileType"))
    duration = seconds(profile.get("duration"))
    if not _PROFILE_NAME.fullmatch(name) or kind not in types or duration is None:
        raise Refusal(0, one_line(f"it wants a profile that cannot be taken: {profile}"), 0.0)
    return _Turn(name, kind, min(duration, _LONGEST_PROFILE), profile)


def _delay(error: Exception) -> float:
    return error.delay if isinstance(error, Refusal) else 0.0


def _may_pass(error: Exception) -> bool:
    """Return whether an error is temporary, so that a retry may succeed."""
    if isinstance(error, Refusal):
        return error.status in _MAY_PASS
    if isinstance(error, Failed):
        return error.outcome.retry
    return isinstance(error, Unreachable)
