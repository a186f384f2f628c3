"""Masks what may be secret in a log entry or a span, before it is written or queued for delivery.

Keys are compared without regard to case, ``-`` and ``_``. Text is searched in linear time (see ``named_values``), and
only if a cheap check finds that it may contain something to mask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from obskit.base.command_secrets import HINTS, mask_commands, mask_host, mask_redis
from obskit.base.named_values import MASK, mask_values, names_credentials
from obskit.base.patterns import pattern
from obskit.base.sql_literals import mask_literals

DEFAULT_KEYS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "access_key",
    "private_key",
    "client_key",
    "account_key",
    "credential",
    "authorization",
    "cookie",
    "session_id",
    "csrf",
    "signature",
    "jwt",
)
"""A field or a tag is masked if its key contains one of these words."""

_SEPARATORS = str.maketrans("", "", "-_ .")
_AS_SPACES = str.maketrans("-_.", "   ")
_MAX_CACHED_KEYS = 10_000
_MAX_CACHED_TEXTS, _SHORT = 1000, 60
_USERINFO = pattern(
    r"""(:(?:\\?/){2})(?!\[(?:[\da-fA-F:.]*|masked)\])  # not an IPv6 address
    [^\s/?#:"'<>]{0,256}
    (?: :(?!\d{1,5}(?:["'<>,/?#\\]|\Z)) (?:[^\s/?#]* | [^\s"'<>]{1,256}?) )?  # a password, but no port
    (?=@)""",
    re.VERBOSE,
)
_NETLOC = pattern(r"""(\bnetloc=b?\\*["'])[^"'@]{1,512}(?=@)""")  # urllib's ParseResult
_QUERY = pattern(r"(?<=[^\s?(\[{=,])(?:\?(?=[\w%&~])|#(?=[\w.%-]{1,64}=))[^\s\"'<>]+")
_SCHEME = pattern(
    r"""\b((?i:bearer|basic))\s+(?![A-Za-z]?[a-z]{1,14}(?:[\s.,;!?)"']|:\s|:?\Z))  # not a word: basic authentication
    (?!\[masked\])[^\s"',;<>)\]}\\]{6,}""",
    re.VERBOSE,
)
_PRIVATE_KEY = pattern(r"(-----BEGIN [A-Z\d ]{0,32}PRIVATE KEY-----).*?(?=-----END|\Z)", re.DOTALL)
_WEB_TOKEN = pattern(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_ELEMENT = pattern(
    r"(<(?:[\w.-]{1,64}:)?(?P<name>[\w.-]{1,64})\s[^<>]{1,512}(?<!/)>)[^<]{1,10000}(?=</)"
)  # with attributes
_SQL_PASSWORD = pattern(r"\b((?i:password\s{0,8}\(|password\s|identified\s{1,8}by\s)\s{0,8})'[^'\s]*'")
_SQL_PARAMETERS = pattern(r"(?<=\n\[parameters: )(?!\[masked\]).*")  # SQLAlchemy's errors
_SHORT_PARAMETERS = frozenset(["sig", "key", "code", "auth"])
"""Words too common to mask everywhere, but not as the name of a URL's parameter."""

_SHOWN, _NUMBERS = (type(None), bool), (int, float)
_PLAIN_URL = pattern(r"(https?://[\w.-]+(?::\d{1,5})?)(?:/[\w./~-]*)?")
_MORE_THAN_WORDS = pattern(r"[=:?'\"(]")
_URL_TAGS = frozenset(
    [
        "http.url",
        "http.target",
        "url.full",
        "url.original",
        "http.request.header.referer",
        "http.response.header.location",
    ]
)
_QUERY_TAGS = frozenset(["url.query", "url.fragment"])
_TEXT_TAGS = frozenset(["error", "error.message", "db.statement", "db.query.text", "sql.query"])
"""Tags of integrations, ours and OpenTelemetry's, that repeat what others wrote."""


# Functions, since Python imports a module to read a template: a finaliser's text at the very end would be lost.
def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}"


def _masked_credentials(match: re.Match[str]) -> str:
    return f"{match[1]} {MASK}"


def _masked_literal(match: re.Match[str]) -> str:
    return f"{match[1]}'{MASK}'"


class Redactor:
    """Masks the values of secret keys, and secrets in URLs and headers quoted in text.

    ``ordinary`` caches the keys of tags that are never masked: a span with no other tags needs no further check.
    """

    def __init__(self, keys: Sequence[str] = DEFAULT_KEYS) -> None:
        self._words = tuple(filter(None, (_plain(key) for key in keys)))
        self._known: dict[str, bool] = {}
        self.ordinary: set[str] = set()
        self._harmless: set[str] = set()  # short texts that come again and again: names of events, "503"
        self._origins: set[str] = set()  # those of URLs that are shown: most programs call few servers
        self._hints = _hints(tuple(keys))

    def is_secret(self, key: str) -> bool:
        """Return whether fields named ``key`` are masked."""
        known = self._known.get(key)
        if known is None:
            plain = _plain(key)
            known = any(word in plain for word in self._words)
            if len(self._known) < _MAX_CACHED_KEYS:
                self._known[key] = known
        return known

    def hides(self, key: str, value: Any) -> bool:
        """Return whether ``value`` is masked under ``key``: a number only where the key ends with a secret's word."""
        kind = type(value)  # not isinstance, which may run the application's code
        if not self.is_secret(key):
            return kind is tuple and names_credentials(key)
        return kind not in _SHOWN and (kind not in _NUMBERS or self._is_word(key))

    def text(self, text: str) -> str:
        """Return ``text`` without the values of secret names and headers, URL users and secret URL parameters."""
        signs = "=" in text or ":" in text or "," in text or "--" in text or "<" in text or " '" in text
        if signs:
            text = self._without_named(text)
            if ":/" in text or ":\\/" in text:
                text = _USERINFO.sub(_masked, text)
            if "netloc=" in text:
                text = _NETLOC.sub(_masked, text)
            if "@" in text:
                text = mask_host(text)
        if "earer" in text or "asic" in text or "EARER" in text:
            text = _SCHEME.sub(_masked_credentials, text)
        if " -" in text or "'-" in text:
            text = mask_commands(text)
        if "AUTH" in text or "pass" in text or "erauth" in text:
            text = mask_redis(text)
        if "eyJ" in text:
            text = _WEB_TOKEN.sub(MASK, text)
        if signs and "PRIVATE KEY-" in text:  # which has five dashes before it
            text = _PRIVATE_KEY.sub(_masked, text)
        return text

    def may_mask(self, text: str) -> bool:
        """Return whether there may be something to mask in ``text``, whatever numbers are inserted into it."""
        lower = text.lower()
        return any(
            hint in lower for hint in (*self._hints, *HINTS, ":/", ":\\/", "earer", "asic", "eyj", "private key-")
        )

    def _without_named(self, text: str) -> str:
        lower = text.lower()
        for hint in self._hints:
            if hint in lower:
                text = _SQL_PASSWORD.sub(_masked_literal, _SQL_PARAMETERS.sub(f"{MASK}]", text))
                if "</" in text:
                    text = _ELEMENT.sub(self._element, text)
                return mask_values(text, self._is_named, self._is_word)
        return text

    def _element(self, match: re.Match[str]) -> str:
        return _masked(match) if self.is_secret(match["name"]) else match[0]

    def _is_named(self, name: str, before: str) -> bool:
        """Return whether ``name`` names a secret where it stands in text; ``tokenizer`` does not."""
        if self.is_secret(name) and _in_name(self._words).search(name) is not None:
            return True
        if name == "REDISCLI_AUTH":
            return True
        return name.lower() in _SHORT_PARAMETERS and before != "" and before in "?&;"

    def _is_word(self, name: str) -> bool:
        """Return whether ``name`` ends with a word for a secret: ``auth_token``, not ``token_count``."""
        return _plain(name).endswith(self._words)

    # Spans

    def error_text(self, text: str) -> str:
        """Return an exception's text masked as by ``text``, and without queries of URLs and literals of SQL.

        The application did not choose that text: a library put the whole request or statement into its message.
        """
        if text in self._harmless:
            return text
        shown = self.text(text if _MORE_THAN_WORDS.search(text) is None else mask_literals(_without_query(text)))
        if shown == text and len(text) <= _SHORT and len(self._harmless) < _MAX_CACHED_TEXTS:
            self._harmless.add(text)
        return shown

    def tags(self, tags: Mapping[str, Any], mixed: bool = False) -> Mapping[str, Any]:
        """Return ``tags`` with text under secret keys masked, and with text that libraries wrote searched.

        ``mixed`` says that values may be lists or maps, whose items are treated likewise.
        """
        if mixed:
            tags = {key: self.inside(value) for key, value in tags.items()}
        if self.ordinary.issuperset(tags):
            return tags
        return {**tags, **{key: self._tag(key, tags[key]) for key in tags if key not in self.ordinary}}

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event's attributes, an exception's for instance: like tags, but all text is searched."""
        found = self.tags(attributes, mixed=True).items()
        return {key: self.error_text(value) if isinstance(value, str) else value for key, value in found}

    def inside(self, value: Any) -> Any:
        """Return a tag's value with what a map in it has under secret keys masked."""
        if type(value) is dict:
            return dict(self.tags(value, mixed=True))
        return tuple(map(self.inside, value)) if type(value) is tuple else value

    def _tag(self, key: str, value: Any) -> Any:
        if self.is_secret(key):  # numbers stay: how many tokens a model has read
            return MASK if isinstance(value, str | bytes | tuple | dict) else value
        if key in _QUERY_TAGS:
            return MASK if value else value
        show = self.error_text if key in _TEXT_TAGS else self._url if key in _URL_TAGS else None
        if show is not None:
            return _each_text(value, show)
        if len(self.ordinary) < _MAX_CACHED_KEYS:
            self.ordinary.add(key)
        return value

    def _url(self, url: str) -> str:
        """Return a URL as ``text`` would. In a plain one a token, or the name of its server, is all that may go."""
        plain = _PLAIN_URL.fullmatch(url)
        if plain is None or "eyJ" in url:
            return self.text(_without_query(url))
        origin = plain[1]
        if origin in self._origins:
            return url
        if self.text(f"{origin}/") != f"{origin}/":
            return self.text(url)
        if len(self._origins) < _MAX_CACHED_TEXTS:
            self._origins.add(origin)
        return url


def _each_text(value: Any, show: Callable[[str], str]) -> Any:
    """Return ``show`` of a text, or of each in a list: OpenTelemetry keeps a header's values in a list."""
    if isinstance(value, tuple):
        return tuple(_each_text(item, show) for item in value)
    return show(value) if isinstance(value, str) else value


def _without_query(text: str) -> str:
    if "?" not in text and "#" not in text:
        return text
    return _QUERY.sub(rf"?{MASK}", _USERINFO.sub(_masked, text))  # a password may hold either


@lru_cache(maxsize=8)
def _in_name(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of what ends with a secret's word, which few programs need."""
    anywhere = "|".join(map(_anywhere, words)) or "(?!)"
    return re.compile(rf"(?i:{anywhere})s?(?![a-z])")


@lru_cache(maxsize=8)
def _hints(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return substrings, in lower case, one of which occurs in every secret name."""
    parts = [key.lower().translate(_AS_SPACES).split(" ") for key in keys if key]
    found = {next((piece for piece in reversed(part) if len(piece) > 2), part[-1]) for part in parts}
    found |= {f"{name}=" for name in _SHORT_PARAMETERS}
    found |= {"identified", "auth'", 'auth"'}  # SQL's, and pairs of user and password
    return tuple(hint for hint in found if not any(other in hint for other in found if other != hint))


def _anywhere(word: str) -> str:
    """Return a pattern for ``word`` with separators between its letters: ``apikey`` is also ``api-key``."""
    return "[-_.]?".join(re.escape(letter) for letter in word)


def _plain(key: str) -> str:
    return key.lower().translate(_SEPARATORS)
