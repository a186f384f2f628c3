"""Masks passwords in command lines, in statements of Redis, and before a host without a scheme.

Only where hardly anything else is written so: ``-p`` is a password to few programs, and ``AUTH`` is also a word. All
takes linear time: the stretch from a program's name to its option has a bounded length.
"""

from __future__ import annotations

import re

from obskit.base.named_values import MASK
from obskit.base.patterns import pattern

# An option's value: -u x, -ux, --user=x, -u 'x', and among arguments as Python writes them: '-u', 'x'.
_BEFORE = r"""(?:["'],\s{1,8}|=|[ \t]{1,8})?(?P<quote>["'])?"""
_VALUE = r"""(?!\[masked\])(?(quote)[^"']{1,1024}|[^\s"';|&]{1,1024})"""
_USER = pattern(
    rf"""(\bcurl\b[^|]{{0,500}}?[\s"'](?:-[A-Za-z]{{0,6}}[uU]|--(?:proxy-)?user){_BEFORE}[^\s:"'=\\]{{0,256}}:){_VALUE}"""
)
_PASSWORD = pattern(
    rf"""(\b(?:(?:mysql|mariadb)\w{{0,16}}\b[^\n;|&]{{0,500}}?[\s"']-p(?!\s|["'](?:[,\])\s]|\Z)|ort\b|rotocol\b)
      |(?:sshpass\b["',\s]{{1,8}}-p
        |redis-cli\b[^\n;|&]{{0,500}}?[\s"']-a
        |(?:docker|podman|helm)\b[^\n;|&]{{0,100}}?\blogin\b[^\n;|&]{{0,500}}?[\s"']-p
        |ldap(?:add|delete|modify|passwd|search|whoami)\b[^\n;|&]{{0,500}}?[\s"']-w
       )(?![a-z]{{2}}|[ ]-)){_BEFORE}){_VALUE}""",
    re.VERBOSE,
)
_REDIS = pattern(
    r"""(\b(?i:config["']?\s{1,4}["']?set["']?\s{1,4}["']?(?:requirepass|masterauth))["']?\s{1,4}["']?
      |\bHELLO\s\d\sAUTH\s[^\s"']{1,256}\s
      |"AUTH"\s"(?![^"\s]{1,256}"\s"\[masked\])(?:[^"\s]{1,256}"\s")?  # as MONITOR shows it
      |(?:\A|\n|>\s)AUTH\s{1,4}(?:[\w.@-]{1,64}\s{1,4}(?=[^\s"']{1,1024}\s*(?:\n|\Z)))?
        (?=[^\s"']{1,1024}\s*(?:\n|\Z))(?![A-Z]?[a-z]{1,14}(?![^\s.!])|[A-Z]{1,14}(?![^\s.!]))
     )(?!\[masked\])[^\s"']{1,1024}""",
    re.VERBOSE,
)
_HOST = pattern(  # Go's user:password@tcp(host), and user:password@host:port
    r"""(?<![\w:/@.%+-])(?!(?:sips?|xmpp|mailto|acct|tel):)([\w.%+-]{1,64}:)(?!/|\[masked\])[^\s"'<>,]{1,256}?
    (?=@(?:[a-z\d]{1,16}\(|[A-Za-z\d](?:[\w.-]{0,254})?:\d{2,5}(?![\w.])))""",
    re.VERBOSE,
)

HINTS = (
    "curl",
    "mysql",
    "mariadb",
    "sshpass",
    "redis-cli",
    "docker",
    "podman",
    "helm",
    "ldap",
    "auth",
    "requirepass",
    "@",
)
"""In lower case: one of these is in each text with something to mask."""


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}"


def mask_commands(text: str) -> str:
    """Return ``text``, which has options, without the passwords among them."""
    return _PASSWORD.sub(_masked, _USER.sub(_masked, text))


def mask_redis(text: str) -> str:
    """Return ``text`` without the passwords of Redis's statements."""
    return _REDIS.sub(_masked, text)


def mask_host(text: str) -> str:
    """Return ``text``, which has ``@``, without passwords before a host."""
    return _HOST.sub(_masked, text)
