"""A fast path for Zipkin v2 JSON: messages that are already in the normal form that the reference writes.

Most libraries send that form. msgspec decodes it in a tenth of the time; any other message is decoded by ``json_v2``.

Whether a message is in that form is decided by length: its spans, encoded again, must take exactly the same number of
bytes. Then it has no unknown field, no duplicate key (of which only the last would remain) and no value to convert.
"""

from __future__ import annotations

from operator import eq

import msgspec

from obskit.zipkin.addresses import parse_ip
from obskit.zipkin.decoding import check_number
from obskit.zipkin.json_v2 import decode_list, encode_each
from obskit.zipkin.model import ZERO_ID, Annotation, Endpoint, Span

_MAX_LONG = 2**63 - 1
_MAX_PORT = 65535
_MOST_REMEMBERED = 10_000
_LONGEST_USUAL = 200  # characters of a name that is cached
_decode = msgspec.json.Decoder(list[Span]).decode
_normal_endpoints: set[Endpoint | None] = {None}


def read_list(body: bytes) -> tuple[list[Span], list[bytes]]:
    """Return the normalised spans of a JSON list, and the JSON of each. Raises DecodeError as ``json_v2`` does."""
    try:
        spans = _decode(body)
        check_number(len(spans))
        lines = encode_each(spans)
        if spans and _is_whole(body, lines) and _are_normal(spans):
            return spans, lines
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    spans = decode_list(body)
    return spans, encode_each(spans)


def _is_whole(body: bytes, lines: list[bytes]) -> bool:
    """Return whether the body consists of these lines, apart from white space."""
    length = sum(map(len, lines)) + len(lines) + 1  # commas and brackets
    return length == len(body) or length == len(msgspec.json.format(body, indent=-1))


def _are_normal(spans: list[Span]) -> bool:
    """Return whether the reference would change nothing in the spans. Checks one field of all spans at a time."""
    places = {(span.name, span.local_endpoint, span.remote_endpoint) for span in spans}  # few
    names = {name for name, _, _ in places}
    return (
        _ids_are_normal(spans)
        and all(not name or name == name.lower() for name in names)
        and "" not in names
        and _are_positive([moment for span in spans if (moment := span.timestamp) is not None])
        and _are_positive([took for span in spans if (took := span.duration) is not None])
        and _endpoints_are_normal({endpoint for _, *endpoints in places for endpoint in endpoints})
        and "CLIENT" not in [span.kind for span in spans if span.shared]
        and all(map(_annotations_are_normal, [its for span in spans if (its := span.annotations)]))
    )


def _ids_are_normal(spans: list[Span]) -> bool:
    traces = [span.trace_id for span in spans]
    ids = [span.id for span in spans]
    all_parents = [span.parent_id for span in spans]
    parents = [parent for parent in all_parents if parent is not None]
    digits = "".join([*traces, *ids, *parents])
    return (
        {*map(len, traces)} <= {16, 32}
        and {*map(len, ids), *map(len, parents)} <= {16}
        and _are_hexadecimal(digits)
        and ZERO_ID not in digits  # nor where one id ends and the next begins: that is rare
        and not any(map(eq, all_parents, ids))
    )


def _are_hexadecimal(digits: str) -> bool:
    """Return whether a text has lower-case hexadecimal digits alone."""
    try:
        return 2 * len(bytes.fromhex(digits)) == len(digits) and digits == digits.lower()  # it passes over white space
    except ValueError:
        return False


def _are_positive(numbers: list[int]) -> bool:
    return not numbers or (min(numbers) > 0 and max(numbers) <= _MAX_LONG)


def _endpoints_are_normal(endpoints: set[Endpoint | None]) -> bool:
    unknown = endpoints - _normal_endpoints
    if not all(map(_endpoint_is_normal, unknown)):
        return False
    if len(_normal_endpoints) > _MOST_REMEMBERED:
        _normal_endpoints.clear()
    usual = [endpoint for endpoint in unknown if endpoint is None or len(endpoint.service_name or "") <= _LONGEST_USUAL]
    _normal_endpoints.update(usual[:_MOST_REMEMBERED])
    return True


def _endpoint_is_normal(endpoint: Endpoint | None) -> bool:
    if endpoint is None:
        return True
    name, port = endpoint.service_name, endpoint.port
    return (
        endpoint != Endpoint()
        and (name is None or (name != "" and name == name.lower()))
        and (endpoint.ipv4 is None or parse_ip(endpoint.ipv4) == ("ipv4", endpoint.ipv4))
        and (endpoint.ipv6 is None or parse_ip(endpoint.ipv6) == ("ipv6", endpoint.ipv6))
        and (port is None or 0 < port <= _MAX_PORT)
    )


def _annotations_are_normal(annotations: list[Annotation]) -> bool:
    """Return whether annotations are sorted, without duplicates, with timestamps of 64 bits."""
    pairs = [(one.timestamp, one.value) for one in annotations]
    return sorted(set(pairs)) == pairs and pairs[0][0] >= -_MAX_LONG and pairs[-1][0] <= _MAX_LONG
