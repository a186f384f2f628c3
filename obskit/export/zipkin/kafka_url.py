"""What a ``kafka://`` URL says: brokers, topic, and settings of librdkafka's."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

SCHEME = "kafka://"
_TOPIC = "zipkin"  # what the Zipkin server reads (KAFKA_TOPIC)
_OURS = frozenset(["bootstrap.servers", "logger"])
# librdkafka would load a library, or run a command, that they name.
_CODE = frozenset(
    ["plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location", "ssl.engine.id", "ssl.providers"]
)
_is_name = re.compile(r"[a-z0-9.]+").fullmatch  # those with an underscore are callbacks, and the level of logs
_is_broker = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?").fullmatch
_is_topic = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}").fullmatch  # Kafka's own rule


class KafkaTarget(NamedTuple):
    """Where spans go. ``settings`` are librdkafka's, by name, and may be secrets."""

    brokers: str
    topic: str
    settings: dict[str, str]

    @property
    def shown(self) -> str:
        """The URL without its settings."""
        return f"{SCHEME}{self.brokers}/{self.topic}"


def parse_url(url: str) -> KafkaTarget:
    """Read ``kafka://HOST:PORT,HOST:PORT/TOPIC?NAME=VALUE&NAME=VALUE``; values are percent-decoded.

    Raises ValueError, which repeats no value of a setting.
    """
    address, _, query = url.removeprefix(SCHEME).partition("?")
    brokers, _, topic = address.partition("/")
    topic = topic or _TOPIC
    if "@" in brokers:
        raise ValueError("a user and a password are settings: ?sasl.username=...&sasl.password=...")
    for broker in brokers.split(","):
        _check(broker)
    if not _is_topic(topic):
        raise ValueError(f"its topic {topic!r} is none: letters, digits, '.', '_' and '-', at most 249")
    return KafkaTarget(brokers, topic, _settings(query))


def _check(broker: str) -> None:
    match = _is_broker(broker)
    if not match:
        raise ValueError(f"{broker!r} is no broker: write HOST:PORT, with commas between them")
    if match["port"] and not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"port {match['port']} cannot be connected to: 1 to 65535 can")


def _settings(query: str) -> dict[str, str]:
    """Return the settings. A ``+`` is one: passwords have them, and no HTML form wrote this."""
    settings = {}
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError("a setting after '?' is NAME=VALUE, with '&' between them")
        if name in _OURS or name.endswith("_cb"):
            raise ValueError(f"{name!r} is no setting of librdkafka's that a URL can have")
        if not _is_name(name):  # it is not shown: it may be a part of a password that has a "&"
            raise ValueError("a name after '?' has small letters, digits and dots only; percent-encode '&' in values")
        if name in _CODE:
            raise ValueError(f"{name!r} would make the process load or run what it names, and cannot be set by a URL")
        settings[name] = unquote(value)
    return settings
