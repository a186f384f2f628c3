"""Rules: rates and limits for some traces, told by their first span. The first rule that matches decides.

Paths and names compared with patterns, in time linear in their length: callers choose the paths.

A regular expression with several ``.*`` takes polynomial time, and a path may have thousands of characters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.trace import SpanKind

from obskit.base.patterns import pattern
from obskit.base.records import NamedTuple
from obskit.tracing.sampling.limiter import HIGHEST_LIMIT
from obskit.tracing.sampling.rate import Sampler, Verdict

Matches = Callable[[str], bool]

_PLACEHOLDER = pattern(r"\{[^{}/]*\}|<[^<>/]*>")
_REST = pattern(r"\{\w+:path\}$|<path:\w+>$")  # Starlette's, Flask's and Django's


def glob(pattern: str) -> Matches:
    """Return what tells whether a text is ``pattern``, in which ``*`` stands for any run of characters, ``/`` too."""
    first, *inner = pattern.split("*")
    if not inner:
        return pattern.__eq__
    last = inner.pop()
    if not inner and not last:
        return lambda text: text.startswith(first)
    shortest = len(first) + len(last)

    def matches(text: str) -> bool:
        if len(text) < shortest or not (text.startswith(first) and text.endswith(last)):
            return False
        position, end = len(first), len(text) - len(last)
        for part in inner:
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True

    return matches


def route(pattern: str) -> Matches:
    """Return what tells whether a path may be one of a route, written as frameworks do: ``/orders/{id}``.

    ``{name}``, ``<name>`` and ``<int:name>`` stand for something without a ``/``, ``{name:path}`` and ``<path:name>``
    at the end for anything that is not empty. Routing comes after sampling, so the pattern is compared with the path.
    """
    pattern, rest = _REST.subn("{}", pattern)
    start = _PLACEHOLDER.split(pattern)[0].partition("*")[0]
    segments = [_segment(text) for text in pattern.split("/")]
    splits = len(segments) - rest

    def matches(path: str) -> bool:
        if not path.startswith(start):  # most paths: the rest is slower
            return False
        found = path.split("/", splits)
        return len(found) == len(segments) and all(match(text) for match, text in zip(segments, found, strict=True))

    return matches


def _segment(pattern: str) -> Matches:
    """Return what compares one segment, where a placeholder stands for one character at least."""
    if not _PLACEHOLDER.search(pattern):
        return glob(pattern)
    matches = glob(_PLACEHOLDER.sub("*", pattern))
    least = len(_PLACEHOLDER.sub("_", pattern.replace("*", "")))
    return lambda text: len(text) >= least and matches(text)


_KINDS = {kind.name.lower(): kind for kind in SpanKind}


class Rule(NamedTuple):
    """One rule: each of the first six that is not empty must match, by one of its values; then ``rate`` and ``limit``.

    ``limit`` is in traces a second.
    """

    service: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    rate: float = 1.0
    limit: int | None = None

    def __repr__(self) -> str:
        """Return the rule as it is given to ``init``."""
        given = {name: value for name, value in zip(self._fields, self, strict=True) if value not in ((), None)}
        return repr({name: list(value) if isinstance(value, tuple) else value for name, value in given.items()})


_MATCHED = Rule._fields[:6]
_OUTCOMES = Rule._fields[6:]


def read_rules(value: Any) -> tuple[Rule, ...]:
    """Return the rules of a list of mappings, or of JSON with such a list. Raises ValueError naming rule and key."""
    items = _from_json(value) if isinstance(value, str) else value
    if not isinstance(items, Sequence) or isinstance(items, bytes | str):
        raise ValueError("must be a list of rules, such as [{'path': '/health*', 'rate': 0}]")
    return tuple(_read_rule(f"rule {number}", item) for number, item in enumerate(items, 1))


def _from_json(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be JSON: {error}") from None


def _read_rule(rule: str, item: Any) -> Rule:
    if isinstance(item, Rule):
        return item
    if not isinstance(item, Mapping):
        raise ValueError(f"has as {rule} no mapping, such as {{'path': '/health*', 'rate': 0}}")
    for key in item:
        if key not in Rule._fields:
            raise ValueError(f"has in {rule} the key {key!r}, which is none of {', '.join(Rule._fields)}")
    if not any(key in item for key in _OUTCOMES):
        raise ValueError(f"has in {rule} neither rate nor limit: add 'rate' (0 to 1), or 'limit' (traces a second)")
    return Rule(**{key: _READ[key](f"has in {rule} {key}={value!r}, which", value) for key, value in item.items()})


def _texts(problem: str, value: Any) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not values or not all(isinstance(one, str) and one for one in values):
        raise ValueError(f"{problem} must be text, or a list of texts")
    return tuple(values)


def _paths(problem: str, value: Any) -> tuple[str, ...]:
    values = _texts(problem, value)
    if not all(text.startswith(("/", "*")) for text in values):
        raise ValueError(f"{problem} must begin with a slash: it is compared with the whole path")
    return values


def _kinds(problem: str, value: Any) -> tuple[str, ...]:
    values = tuple(text.lower() for text in _texts(problem, value))
    if not set(values) <= _KINDS.keys():
        raise ValueError(f"{problem} must be one of {', '.join(_KINDS)}, or a list of them")
    return values


def _methods(problem: str, value: Any) -> tuple[str, ...]:
    return tuple(text.upper() for text in _texts(problem, value))


def _rate(problem: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{problem} must be a number from 0 to 1")
    return float(value)


def _limit(problem: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_LIMIT:
        raise ValueError(f"{problem} must be an integer from 0 to {HIGHEST_LIMIT} (traces a second)")
    return value


_READ: dict[str, Callable[[str, Any], Any]] = {
    "service": _texts,
    "kind": _kinds,
    "method": _methods,
    "path": _paths,
    "route": _paths,
    "name": _texts,
    "rate": _rate,
    "limit": _limit,
}


# Rules at work


class Condition(NamedTuple):
    """What a rule asks of a trace's first span; None where it asks nothing."""

    methods: frozenset[str] | None
    kinds: tuple[SpanKind, ...] | None
    path: Matches | None
    name: Matches | None


def rules_sampler(rules: Sequence[tuple[Condition, Sampler]], otherwise: Sampler) -> Sampler:
    """Return a sampler that asks the one beside the first condition that holds, or ``otherwise``."""
    flat = [(*condition, sampler) for condition, sampler in rules]

    def sample(trace_id: str, name: str, kind: SpanKind, tags: dict[str, Any]) -> Verdict:
        method = tags.get("http.method") or tags.get("http.request.method")
        path = tags.get("http.path") or tags.get("url.path")
        path = path if isinstance(path, str) else ""
        for methods, kinds, has_path, has_name, sampler in flat:
            if (
                (methods is None or method in methods)
                and (kinds is None or kind in kinds)
                and (has_path is None or has_path(path))
                and (has_name is None or has_name(name))
            ):
                return sampler(trace_id, name, kind, tags)
        return otherwise(trace_id, name, kind, tags)

    return sample


def applies_to(rule: Rule, service: str) -> bool:
    """Return whether a rule concerns this service at all."""
    return not rule.service or any(glob(pattern)(service) for pattern in rule.service)


def condition(rule: Rule) -> Condition:
    """Compile what ``rule`` asks of a first span."""
    path, by_route = _any_of(glob, rule.path), _any_of(route, rule.route)
    return Condition(
        frozenset(rule.method) or None,
        tuple(_KINDS[text] for text in rule.kind) or None,
        (lambda text: path(text) and by_route(text)) if path and by_route else path or by_route,
        _any_of(glob, rule.name),
    )


def _any_of(compiled: Callable[[str], Matches], patterns: Sequence[str]) -> Matches | None:
    """Return what tells whether one of ``patterns`` matches; None for none at all."""
    tests = [compiled(pattern) for pattern in patterns]
    return tests[0] if len(tests) == 1 else (lambda text: any(test(text) for test in tests)) if tests else None
