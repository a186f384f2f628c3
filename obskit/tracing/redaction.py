"""Masking what may be secret in a log entry or a span, before it is written or queued for a disk or a network.

Keys are compared without regard to case, ``-`` and ``_``. Text is searched with patterns that take linear time, and
only where a cheap look says that they may match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from obskit.tracing.sql_literals import mask_literals

MASK = "[masked]"
DEFAULT_KEYS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "access_key",
    "private_key",
    "credential",
    "authorization",
    "cookie",
    "session_id",
    "csrf",
    "signature",
)
"""A field or a tag is masked if its key contains one of these words."""

_SEPARATORS = str.maketrans("", "", "-_ .")
_MAX_CACHED_KEYS = 10_000
_MAX_CACHED_TEXTS, _SHORT = 1000, 60
_USERINFO = re.compile(r"(?<=://)[^\s/?#@]{1,256}(?=@)")
_QUERY = re.compile(r"(?<=[^\s?(\[{=,])(?:\?(?=[\w%&~])|#(?=[\w.%-]{1,64}=))[^\s\"'<>]+")
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE)
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)([\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\r\n\"']+", re.IGNORECASE
)
_PARAMETER = re.compile(r"([?&;]([A-Za-z0-9_.%-]{1,64})=)[^&;\s\"'#]+")
_SHORT_PARAMETERS = frozenset(["sig", "key", "code", "auth", "pwd"])
"""Words too common to mask everywhere, but not as the name of a URL's parameter."""

_is_more_than_words = re.compile(r"[=:?'\"(]").search
_URL_TAGS = frozenset(["http.url", "http.target", "url.full"])
_TEXT_TAGS = frozenset(["error", "error.message", "db.statement", "db.query.text", "sql.query"])
"""Tags of integrations, ours and OpenTelemetry's, that repeat what others wrote."""


class Redactor:
    """Masks the values of secret keys, and secrets in URLs and headers quoted in text.

    ``ordinary`` grows to the keys of tags that are left alone: whose tags have no others need not be looked at.
    """

    def __init__(self, keys: Sequence[str] = DEFAULT_KEYS) -> None:
        self._words = tuple(filter(None, (_plain(key) for key in keys)))
        self._known: dict[str, bool] = {}
        self.ordinary: set[str] = set()
        self._harmless: set[str] = set()  # short texts that come again and again: names of events, "503"
        words = "|".join(_anywhere(word) for word in self._words) or "(?!)"
        value = r"""(?:(")[^"\r\n]+|(')[^'\r\n]+|[^\s"'&,;}]+)"""
        self._pair = re.compile(rf"""((?:{words})["']?\s?[=:]\s?){value}""", re.IGNORECASE)
        self._hints = tuple({re.split(r"[-_. ]", key.lower())[-1] for key in keys})

    def is_secret(self, key: str) -> bool:
        """Return whether fields named ``key`` are masked."""
        known = self._known.get(key)
        if known is None:
            plain = _plain(key)
            known = any(word in plain for word in self._words)
            if len(self._known) < _MAX_CACHED_KEYS:
                self._known[key] = known
        return known

    def value(self, key: str, value: Any) -> Any:
        """Return ``value`` as it may be shown under ``key``: masked, searched, or as it is."""
        if self.is_secret(key) and value is not None and not isinstance(value, bool):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        return value

    def text(self, text: str) -> str:
        """Return ``text`` without the values of secret pairs and headers, URL users and secret URL parameters."""
        if "=" in text or ":" in text:
            lower = text.lower()
            if any(hint in lower for hint in self._hints):
                text = _HEADER.sub(rf"\g<1>\g<2>{MASK}", text)
                text = self._pair.sub(rf"\g<1>\g<2>\g<3>{MASK}", text)
            if "://" in text:
                text = _USERINFO.sub(MASK, text)
            if "=" in text:
                text = _PARAMETER.sub(self._parameter, text)
        if "earer" in text or "asic" in text or "EARER" in text:
            text = _SCHEME.sub(rf"\g<1> {MASK}", text)
        return text

    def _parameter(self, match: re.Match[str]) -> str:
        name = match[2]
        secret = name.lower() in _SHORT_PARAMETERS or self.is_secret(name)
        return match[1] + MASK if secret else match[0]

    # Spans

    def error_text(self, text: str) -> str:
        """Return what an exception says as ``text`` does, and without the queries of URLs and the literals of SQL.

        Nobody chose what stands in there: a library put the whole request or statement into its message.
        """
        if text in self._harmless:
            return text
        shown = self.text(text if _is_more_than_words(text) is None else mask_literals(_without_query(text)))
        if shown == text and len(text) <= _SHORT and len(self._harmless) < _MAX_CACHED_TEXTS:
            self._harmless.add(text)
        return shown

    def tags(self, tags: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``tags`` as they may leave: text under secret keys masked, text that others wrote searched."""
        if self.ordinary.issuperset(tags):
            return tags
        return {**tags, **{key: self._tag(key, tags[key]) for key in tags if key not in self.ordinary}}

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event's attributes, an exception's for instance: like tags, but all text is searched."""
        found = self.tags(attributes).items()
        return {key: self.error_text(value) if isinstance(value, str) else value for key, value in found}

    def _tag(self, key: str, value: Any) -> Any:
        if self.is_secret(key):
            return MASK if isinstance(value, str | tuple) else value  # numbers: how many tokens a model has read
        if key in _TEXT_TAGS:
            return self.error_text(value) if isinstance(value, str) else value
        if key in _URL_TAGS:
            return _USERINFO.sub(MASK, _without_query(value)) if isinstance(value, str) else value
        if len(self.ordinary) < _MAX_CACHED_KEYS:
            self.ordinary.add(key)
        return value


def _without_query(text: str) -> str:
    return _QUERY.sub(rf"?{MASK}", text) if "?" in text or "#" in text else text


def _anywhere(word: str) -> str:
    """Return a pattern for ``word`` with separators between its letters: ``apikey`` is also ``api-key``."""
    return "[-_.]?".join(re.escape(letter) for letter in word)


def _plain(key: str) -> str:
    return key.lower().translate(_SEPARATORS)
