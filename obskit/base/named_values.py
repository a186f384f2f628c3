"""Masks the values of secret names in text, such as ``password=x``.

Python writes ``password='x'`` in many ways: bytes, escaped quotes, JSON within JSON, pairs of a header list, calls. One
regular expression finds the names; a scan finds where each value ends, as quotes and brackets nest. If that is unclear,
too much is masked rather than too little. It takes linear time: only stretches of bounded length are scanned twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from obskit.base.patterns import pattern

MASK = "[masked]"

_QUOTE = r"""(?:\\*["'`]|&(?:quot|apos|\#34|\#0?39|\#x27);)"""
_NAME = pattern(
    rf"""(?: (?<![\w.%$-]) | (?<=%3[AaDd]) ) (?:
      (?P<cookie>\w*Cookie)(?=\()
      | (?P<flag>--[\w-]+) (?P<flag_quote>\\*["'`])? ,?[ \t]{{1,8}} (?![=:\s])
      | (?P<name>(?:[\w.$-]|%(?!3[AaDd])) [\w.$-]* (?:%(?!3[AaDd])[\w.$-]*)* (?:\ [\w.$-]+)?) \]?
        (?: (?P<quote>{_QUOTE}) \s{{0,8}} (?P<after_quote>,|>|[:=]{{1,3}}>?) \s{{0,40}}
          | [^\S\r\n]{{0,8}} (?P<sign>[:=]{{1,3}}>?|%3[AaDd]) | > )
        [^\S\r\n]{{0,8}}
    )""",
    re.VERBOSE,
)
_TOKEN = pattern(
    r"""(?P<quote>\\*["'`]) | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<blank>\s) | (?P<comma>[,;&])
      | [^\s,;&()\[\]{}"'`\\]+ | \\+""",
    re.VERBOSE,
)
_NEXT_QUOTE = {quote: pattern(rf"(?<!\\)(\\*){quote}") for quote in "\"'`"}
_OPENING = pattern(r"[bBrRuUfF]{0,2}(?:(?P<quote>\\*[\"'`])|[(\[{])")
_STRING_PREFIX = pattern(r"[bBrRuUfF]{1,2}")
_GOES_ON = pattern(r"[ \t]{0,8}\n[ \t]{1,200}[bBuU]?(?=\\*[\"'])")  # as pprint breaks long strings
_ENCLOSED = pattern(r"[)\]}\"'`\\]{0,16}(?:[\s,;:&<>]|\Z)")
_ANOTHER = pattern(r"[\s\"'`\])}]|\Z|\\*[\"'`]?[\w.%$\[\]-]{1,64}\\*[\"'`]?\s?[=:]|(?:[A-Z]\w{1,64}\ ?){1,3}=")
_BEHIND_STRING = pattern(r"\s{0,8}(?:\Z|[)\]}]|[,;&]?\s{0,8}\\*[\"'`]?[\w.-]{1,64}\\*[\"'`]?\s?[=:])")
_AND_DEFAULT = pattern(r"[ \t]{1,4}=[ \t]{1,4}")
_END_OF_HEADER = pattern(r"[\r\n]|\\r\\n|\Z")
_PAIR_BEGINS, _PAIR_ENDS = pattern(r"[(\[]\s{0,4}[bBuU]?\\*[\"'`]\Z"), pattern(r"\s{0,4}[)\]]")
_IN_PAIR = pattern(r"[bBrRuU]{0,2}(?P<quote>\\*[\"'`])|[\w.+-]{1,64}")
_CONSTANT = pattern(r"None|null|nil|[Tt]rue|[Ff]alse")
_NUMBER = pattern(r"[+-]?\d+(?:\.\d+)?")
_BLOCK = pattern(  # YAML's: lines that are indented as the first one is, or one word on a line of its own
    r"""[|>][+-]?\d?[ \t]*\r?\n(?P<indent>[ \t]{1,64})[^\n]*(?:\n(?P=indent)[^\n]*)*
      | \r?\n[ \t]{1,64}[^\s:]+[ \t]*(?=\r?\n|\Z)""",
    re.VERBOSE,
)
_NAME_BEFORE = pattern(
    r"""\b(?:[nN]ame|[kK]ey)\\*["']?\s?[:=]\s?\\*["']?(?P<name>[\w.-]{1,64})\\*["']?,?\s{1,40}\\*["']?\Z"""
)
_BACKSLASHES = pattern(r"\\*\Z")
_HEADER = pattern(r"(?:authorization|cookies?2?)\Z", re.IGNORECASE)
_LONGEST_ELEMENT = 10_000

IsSecret = Callable[[str, str], bool]
"""Returns whether a name is a secret's, given also the character before it."""


def mask_values(text: str, is_secret: IsSecret, is_word: Callable[[str], bool]) -> str:
    """Return ``text`` with MASK for the values of secret names.

    ``is_word`` tells whether a name ends with a word for a secret. A number is masked only under such a name: a
    ``token_count`` is not. Names of two words (``API key: x``) are secret only if the two end with such a word.
    """
    parts: list[str] = []
    done = 0
    found = _NAME.search(text)
    while found is not None:
        at = found.end()
        name = found["flag"] or found["cookie"] or found["name"]
        last = name.rpartition(" ")[2]
        start = found.start() + len(name) - len(last)
        if text.startswith(MASK, at):
            at += len(MASK)
        elif (
            is_secret(last, text[start - 1 : start])
            or (last != name and (is_word(name) or _is_cookie(name)))
            or (last in ("value", "Value") and _names_secret(text, start, is_secret))
            or (text.startswith("(", at) and names_credentials(last))
        ):
            end = _end_of_value(text, found, start, last)
            value = text[at:end]
            if value and not _is_harmless(value, name, is_word):
                parts += text[done:at], _masked(value, found["quote"])
                done = at = end
        found = _NAME.search(text, at)
    return "".join([*parts, text[done:]]) if parts else text


def names_credentials(name: str) -> bool:
    """Return whether a pair under ``name`` is a user and a password, as clients take them: ``auth``, ``proxy_auth``."""
    return name[-4:].lower() == "auth"


def _is_cookie(name: str) -> bool:
    return name[:7].lower() == "cookie "  # as http.cookiejar shows one: <Cookie session=x for host/>


def _names_secret(text: str, start: int, is_secret: IsSecret) -> bool:
    """Return whether a secret's name is before ``value``, as in ``{"name": "password", "value": "x"}``."""
    before = _NAME_BEFORE.search(text, max(0, start - 200), start)
    return before is not None and is_secret(before["name"], "")


def _is_harmless(value: str, name: str, is_word: Callable[[str], bool]) -> bool:
    return bool(_CONSTANT.fullmatch(value) or (_NUMBER.fullmatch(value) and not is_word(name)))


def _masked(value: str, quote_of_name: str | None) -> str:
    """Return MASK in the quotes that the value had, or its name: JSON stays JSON."""
    opening = _OPENING.match(value)
    quote = opening["quote"] if opening is not None else None
    if quote is None or not value.endswith(quote):
        quote = quote_of_name or ""
    return f"{quote}{MASK}{quote}"


def _end_of_value(text: str, found: re.Match[str], start: int, name: str) -> int:
    """Return where the value of a name ends, which begins at ``start``; where the match ends if it has no value."""
    at = found.end()
    sign = found["sign"] or found["after_quote"]
    if found["flag"] or found["cookie"]:
        return _walk(text, at)
    if sign is None or sign == ">":
        return _end_of_element(text, at)
    if sign == ",":
        return _end_in_pair(text, at, start)
    if not found["quote"] and _HEADER.search(name) and not _OPENING.match(text, at):
        return _end_of_header(text, at, start)
    block = _BLOCK.match(text, at) if sign == ":" else None
    if block is not None:
        return block.end()
    end = _walk(text, at)
    while sign == ":" and (default := _AND_DEFAULT.match(text, end)):  # password: str = "x"
        end = _walk(text, default.end())
    return end


def _end_of_element(text: str, at: int) -> int:
    """Return where the text of an XML element ends."""
    end = text.find("<", at, at + _LONGEST_ELEMENT)
    return end if text.startswith("</", end) else at


def _end_in_pair(text: str, at: int, start: int) -> int:
    """Return where the second item of a pair such as ``("cookie", "x")`` ends; a longer list is one of names."""
    value = _IN_PAIR.match(text, at)
    if value is None or not _PAIR_BEGINS.search(text, max(0, start - 16), start):
        return at
    quote = value["quote"]
    end = _end_of_string(text, value.end(), quote[-1], len(quote) - 1)[1] if quote else value.end()
    return end if _PAIR_ENDS.match(text, end) else at


def _end_of_header(text: str, at: int, start: int) -> int:
    """Return where a header's line ends, or the quotes that stand around name and value.

    The quotes first: the search for the line's end goes no further, since a text may have many headers and one line.
    """
    end = len(text)
    around = _TOKEN.match(text, start - 1) if start else None
    if around is not None and around["quote"] is not None:
        before = _BACKSLASHES.search(text, max(0, start - 16), start - 1)
        escapes = len(before[0]) if before else 0
        end = _end_of_string(text, at, around[0][-1], escapes)[0]
    ending = _END_OF_HEADER.search(text, at, end)
    return ending.start() if ending else end


def _walk(text: str, at: int) -> int:
    """Return where a value ends: strings, brackets and the text between them, up to white space or the next name."""
    brackets, begins, closed = 0, True, -1  # begins: a quote here is the first of a string
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            break
        kind, end = token.lastgroup, token.end()
        if kind == "quote" and (begins or at == closed):
            at = closed = _end_of_string(text, end, token[0][-1], len(token[0]) - 1)[1]
            more = _GOES_ON.match(text, at)
            if more is not None:
                at = closed = more.end()
            begins = False
            continue
        if not brackets and _is_end(text, kind, end):
            break
        if kind == "open":
            brackets += 1
        elif kind == "close":
            brackets = max(brackets - 1, 0)
        begins = _may_begin(kind, token[0], begins, brackets)
        at = end
    return at


def _is_end(text: str, kind: str | None, after: int) -> bool:
    if kind == "blank":
        return True
    if kind == "comma":
        return _ANOTHER.match(text, after) is not None
    return kind in ("close", "quote") and _ENCLOSED.match(text, after) is not None


def _may_begin(kind: str | None, token: str, begins: bool, brackets: int) -> bool:
    """Return whether a quote behind this token opens a string, and does not close one or stand within a word."""
    if kind is None:
        return token[-1] in "=:" or (begins and _STRING_PREFIX.fullmatch(token) is not None)
    return kind == "open" or (brackets > 0 and kind in ("blank", "comma"))


def _end_of_string(text: str, at: int, quote: str, escapes: int) -> tuple[int, int]:
    """Return where a string ends, before and behind its closing quote, which has ``escapes`` backslashes before it.

    Each further quoting of a text doubles the backslashes before a quote and adds one. A quote with fewer than
    ``escapes`` belongs to the text around the string. One with more is within the string, unless the string ends with a
    backslash. A string without an end is the rest of the text.
    """
    for found in _NEXT_QUOTE[quote].finditer(text, at):
        beyond = len(found[1]) - escapes
        if beyond < 0:
            return found.start(), found.start()
        if beyond == 0 or (beyond % (2 * escapes + 2) == 0 and _BEHIND_STRING.match(text, found.end())):
            return found.end() - escapes - 1, found.end()
    return len(text), len(text)
