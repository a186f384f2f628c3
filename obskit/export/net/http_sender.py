"""Posts bodies to one URL, and returns the outcome."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obskit.base.values import one_line
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.net.http_client import Answer, HttpClient, Unreachable
from obskit.export.net.url import basic_credentials

if TYPE_CHECKING:
    from obskit.export.delivery.collector_report import CollectorReport

_RETRY = frozenset([408, 425, 429, 500, 502, 503, 504])
_LONGEST_RETRY_AFTER = 30.0
_OK = range(200, 300)
_REDIRECT = range(300, 400)


class HttpSender:
    """Posts to one URL. Redirects are not followed: spans go to the configured destination only."""

    def __init__(self, url: str, headers: dict[str, str], report: CollectorReport | None = None) -> None:
        self._report = report
        parts = urlsplit(url)
        self._client = HttpClient(url)
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        credentials = basic_credentials(parts)
        self._headers = {**headers, "Authorization": credentials} if credentials else headers

    def post(self, body: bytes, deadline: float, headers: dict[str, str] | None = None) -> Outcome:
        """Post ``body``, with ``headers`` for this one, and say how it went.

        A connection the server closed while idle is opened once more.
        """
        report = self._report
        headers = {**self._headers, **(headers or {}), **(report.headers() if report else {})}
        try:
            answer = self._client.exchange("POST", self._path, body, headers, deadline)
            if report:
                report.learn(answer.headers)
            found = outcome(answer)
            return found._replace(detail=found.detail + self._client.via) if found.reason else found
        except Unreachable as error:
            return Outcome(UNREACHABLE, str(error), retry=True)

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        self._client.close()


def outcome(answer: Answer) -> Outcome:
    """Return the outcome for an answer's status: delivered, to be retried, or lost."""
    status = answer.status
    if status in _OK:
        return DELIVERED
    if status in _REDIRECT:
        return Outcome("redirected", f"{status}: redirects are not followed; use the final URL")
    detail = f"{status} {one_line(answer.body[:200].decode('utf-8', 'replace'))}".strip()
    if status in _RETRY:
        return Outcome(f"http_{status}", detail, True, _retry_after(answer.headers.get("Retry-After")))
    return Outcome(f"http_{status}", detail, too_large=status == 413)


def _retry_after(text: str | None) -> float:
    """Return the seconds a Retry-After header asks for (RFC 9110, 10.2.3): 0 where it makes no sense, capped."""
    try:
        seconds = float(text) if text and text.isdecimal() else parsedate_to_datetime(text or "").timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
