"""The Google account of API calls: its credentials, refreshed when they expire, and its project.

Google's packages are imported for the first account only: on the worker, while no other thread forks. google-auth
retries by itself without a deadline; here each request is made once, in the remaining time, and the pipeline retries.

A context variable marks calls of Google's libraries on behalf of obskit. Log records made there are not sent to Cloud
Logging, which would cause an endless loop, and google-auth's warnings at each attempt are kept out of the application's
log: the pipeline logs once why nothing is delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.context import Context, create_key

from obskit.base.fork_lock import no_fork
from obskit.base.values import one_line
from obskit.export.delivery.exporter import UNREACHABLE, Outcome
from obskit.export.net.http_client import HttpClient, Unreachable
from obskit.export.net.http_message import Headers
from obskit.tracing.current import attach, detach, get_context

_DELIVERING = create_key("obskit-delivering-to-google")
_AUTH_LOGGERS = ("google.auth._default", "google.auth.compute_engine._metadata")


@contextmanager
def delivering() -> Iterator[None]:
    """Mark the context for the length of the block."""
    token = attach(Context({**get_context(), _DELIVERING: True}))
    try:
        yield
    finally:
        detach(token)


def is_delivering() -> bool:
    """Return whether the context is marked."""
    return bool(get_context().get(_DELIVERING))


def hush_google_auth() -> None:
    """Suppress google-auth's log records in a marked context. Calling this again does nothing."""
    for name in _AUTH_LOGGERS:
        logging.getLogger(name).addFilter(_is_the_applications)


def _is_the_applications(_record: logging.LogRecord) -> bool:
    return not is_delivering()


_LATER = frozenset([408, 429, 500, 502, 503, 504])
_MOST_READ = 1024 * 1024
_REMEDY = "name a service account's key file in GOOGLE_APPLICATION_CREDENTIALS, or run on Google Cloud"


class Failed(Exception):
    """An attempt failed in the way that ``outcome`` describes."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


class Account:
    """google-auth's credentials (None: send none) and the project they belong to, if they name one.

    Not thread-safe. In a forked child, look for another one.
    """

    def __init__(self, credentials: Any, project: str | None) -> None:
        self.project = project
        self._credentials = credentials

    def headers(self, timeout: float) -> dict[str, str]:
        """Return the headers with the credentials, refreshed if they have expired.

        Makes one attempt, of at most ``timeout`` seconds. Raises Failed.
        """
        if self._credentials is None:
            return {}
        if not self._credentials.valid:
            self._renew(timeout)
        headers: dict[str, str] = {}
        self._credentials.apply(headers)
        return headers

    def expire(self) -> None:
        """Refresh the credentials before their next use, as a server has refused them."""
        if self._credentials is not None:
            self._credentials.token = None

    def _renew(self, timeout: float) -> None:
        from google.auth.exceptions import GoogleAuthError

        try:
            with delivering():
                self._credentials.refresh(_Once(timeout))
        except GoogleAuthError as error:
            raise Failed(Outcome("no_credentials", one_line(error), retry=bool(error.retryable))) from error


def find_account(
    scopes: tuple[str, ...], key_file: str | None = None, anonymous: bool = False, timeout: float = 10.0
) -> Account:
    """Return the account of a service account's key file, or of Application Default Credentials; or nobody's.

    Takes ``timeout`` seconds at most, but for the look-up of a host name, and for what gcloud takes to name its
    project where the credentials are gcloud's. Raises Failed.
    """
    if anonymous:
        return Account(None, None)
    try:
        with no_fork():
            import google.auth.transport
            import google.oauth2.service_account  # noqa: F401 - used by _load
    except ImportError as error:
        detail = f"google-auth is missing: pip install 'obskit[gcp]' ({error})"
        raise Failed(Outcome("not_installed", detail)) from error
    hush_google_auth()
    with delivering():
        return _load(scopes, key_file, _Once(timeout))


class _Once:
    """google-auth's transport: makes each request once, over obskit's own connection, within one deadline."""

    def __init__(self, timeout: float) -> None:
        self._deadline = monotonic() + timeout

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        timeout: float = 120.0,
        **_options: Any,
    ) -> _Response:
        """Return the response. Raises Failed, which google-auth lets through, where it would try again."""
        deadline = min(self._deadline, monotonic() + timeout)
        content = body.encode() if isinstance(body, str) else body
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            client = HttpClient(url)
            answer = client.exchange(method, target, content, headers or {}, deadline, _MOST_READ)
            client.close()
        except (Unreachable, ValueError) as error:
            raise Failed(Outcome(UNREACHABLE, one_line(error), retry=True)) from error
        if answer.status in _LATER:
            raise Failed(Outcome("no_credentials", f"{url.partition('?')[0]} answered {answer.status}", retry=True))
        return _Response(answer.status, answer.headers, answer.body)


class _Response(NamedTuple):
    """A response as google-auth reads it."""

    status: int
    headers: Headers
    data: bytes


def _load(scopes: tuple[str, ...], key_file: str | None, request: _Once) -> Account:
    """Find credentials. Raises Failed."""
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    try:
        return _key(scopes, key_file) if key_file else _default(scopes, request)
    except Failed as failed:
        detail = f"no credentials were found ({failed.outcome.detail}); {_REMEDY}"
        raise Failed(Outcome("no_credentials", detail, retry=True)) from failed
    except (OSError, ValueError, GoogleAuthError) as error:
        # A pod's metadata server may need its time to start; a file stays as it is.
        retry = isinstance(error, DefaultCredentialsError) and not key_file
        raise Failed(Outcome("no_credentials", one_line(error), retry)) from error


def _key(scopes: tuple[str, ...], key_file: str) -> Account:
    from google.oauth2.service_account import Credentials

    load: Any = Credentials.from_service_account_file
    credentials = load(key_file, scopes=scopes)
    return Account(credentials, credentials.project_id)


def _default(scopes: tuple[str, ...], request: _Once) -> Account:
    import google.auth

    find: Any = google.auth.default
    credentials, project = find(scopes=scopes, request=request)
    return Account(credentials, project)
