"""Rules: what they match, what they decide, and how a bad one complains."""

from __future__ import annotations

import json

import pytest
from opentelemetry.trace import SpanKind

from obskit.settings import ConfigurationError, load
from obskit.tracing.provider import TracerProvider
from obskit.tracing.sampling.head import SamplingOptions
from obskit.tracing.sampling.rules import Rule, glob, read_rules, route


def recorded(rules, *, rate=0.0, service="orders", name="GET", kind=SpanKind.SERVER, **tags) -> bool:
    """Whether a trace whose first span is so is recorded."""
    provider = TracerProvider()
    ended: list = []
    provider.report_to(ended.append)
    provider.sample(SamplingOptions(rate=rate, rules=read_rules(rules), service=service), lambda: 0.0)
    provider.get_tracer("test").start(
        name, kind, None, {key.replace("_", "."): text for key, text in tags.items()}
    ).end()
    assert provider.sampled_out.value == 1 - len(ended)
    return bool(ended)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("/health", "/health", True),
        ("/health", "/healthz", False),
        ("/health*", "/health", True),
        ("/health*", "/health/live?x", True),
        ("/health*", "/Health", False),
        ("*", "", True),
        ("*.css", "/a/b.css", True),
        ("*.css", "/a.css/b", False),
        ("/a*a", "/a", False),
        ("/a*a", "/aa", True),
        ("/a*b*c", "/a-b-c", True),
        ("/a*b*c", "/a-c-b", False),
        ("/a*b*b", "/ab", False),
        ("/a*b*b", "/abb", True),
        ("*b*b*", "abab", True),
        ("*b*b*", "ab", False),
        ("**", "x", True),
        ("/[a]?.", "/[a]?.", True),
        ("/[a]?.", "/aX!", False),
    ],
)
def test_a_star_stands_for_any_run_of_characters_and_nothing_else_is_special(pattern, text, matches):
    assert glob(pattern)(text) is matches


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/orders", "/orders", True),
        ("/orders", "/orders/", False),
        ("/orders/{id}", "/orders/7", True),
        ("/orders/{id}", "/orders/", False),
        ("/orders/{id}", "/orders", False),
        ("/orders/{id}", "/orders/7/items", False),
        ("/orders/{id}/items/{item}", "/orders/7/items/b", True),
        ("/orders/<id>", "/orders/7", True),
        ("/orders/<int:id>/", "/orders/7/", True),
        ("/{name}.json", "/a.json", True),
        ("/{name}.json", "/.json", False),
        ("/{a}-{b}", "/x-y", True),
        ("/{a}-{b}", "/xy", False),
        ("/files/{name:path}", "/files/a/b/c", True),
        ("/files/<path:name>", "/files/a", True),
        ("/files/<path:name>", "/files/", False),
        ("/files/<path:name>", "/files", False),
        ("/v*/orders/{id}", "/v2/orders/7", True),
        ("/v*/orders/{id}", "/v2/x/orders/7", False),
        ("/", "/", True),
    ],
)
def test_a_routes_placeholders_stand_for_a_segment_of_the_path(pattern, path, matches):
    assert route(pattern)(path) is matches


@pytest.mark.parametrize(
    "matches",
    [glob("*a*a*a*a*a*a*b"), route("/{a}a{b}a{c}a{d}a{e}b"), glob("*ab*ab*ab*ab*c*")],
    ids=["glob", "route", "pairs"],
)
def test_a_hostile_path_is_answered_at_all(matches):
    """In linear time it takes milliseconds; a match that backtracks would take longer than any test may."""
    assert not matches("/" + "ab" * 100_000 + "a" * 100_000)


def test_the_first_rule_that_matches_decides_and_then_the_rate():
    rules = [{"path": "/health*", "rate": 0}, {"path": "/h*", "rate": 1}, {"path": "/hx*", "rate": 0}]
    assert not recorded(rules, rate=1.0, http_path="/healthz", http_method="GET")
    assert recorded(rules, rate=0.0, http_path="/hx", http_method="GET")
    assert recorded(rules, rate=1.0, http_path="/orders", http_method="GET")
    assert not recorded(rules, rate=0.0, http_path="/orders", http_method="GET")


@pytest.mark.parametrize(
    ("rule", "first_span"),
    [
        ({"method": "post"}, {"http_method": "POST"}),
        ({"method": ["PUT", "POST"]}, {"http_method": "POST"}),
        ({"method": "POST"}, {"http.request.method": "POST"}),
        ({"path": "/orders/*"}, {"http_path": "/orders/7"}),
        ({"path": "/orders/*"}, {"url.path": "/orders/7"}),
        ({"path": ["/a", "/orders/*"]}, {"http_path": "/orders/7"}),
        ({"route": "/orders/{id}"}, {"http_path": "/orders/7"}),
        ({"route": ["/a/{b}", "/orders/<int:id>"]}, {"http_path": "/orders/7"}),
        ({"name": "job *"}, {"name": "job nightly"}),
        ({"kind": "consumer"}, {"kind": SpanKind.CONSUMER}),
        ({"kind": ["CLIENT", "Producer"]}, {"kind": SpanKind.PRODUCER}),
        ({"service": "or*"}, {}),
        ({"service": ["billing", "orders"]}, {}),
        ({}, {}),
    ],
)
def test_each_key_matches_what_the_first_span_says(rule, first_span):
    assert recorded([{**rule, "rate": 1}], **first_span)
    if rule:
        assert not recorded([{**rule, "rate": 1}], name="x", service="shop", http_method="GET", http_path="/x")


@pytest.mark.parametrize("key", ["method", "path", "route", "name", "kind", "service"])
def test_all_keys_of_a_rule_must_match(key):
    rule = {"method": "POST", "path": "/a*", "route": "/{x}", "name": "n", "kind": "server", "service": "orders"}
    first_span = {"http_method": "POST", "http_path": "/ab", "name": "n"}
    assert recorded([{**rule, "rate": 1}], **first_span)
    other = {"path": "/b*", "route": "/c", "kind": "client"}.get(key, "other")
    assert not recorded([{**rule, key: other, "rate": 1}], **first_span)


@pytest.mark.parametrize("value", [7, None, ["/a"], b"/x", ""])
def test_a_path_that_is_no_text_matches_no_path(value):
    assert recorded([{"path": "*x*", "rate": 0}, {"route": "/{x}", "rate": 0}], rate=1.0, http_path=value)


def test_a_limit_of_a_rule_is_its_own_and_comes_after_its_rate():
    provider = TracerProvider()
    ended: list = []
    provider.report_to(ended.append)
    rules = read_rules([{"name": "a", "limit": 3}, {"name": "b", "limit": 4, "rate": 0}, {"name": "c", "limit": 0}])
    provider.sample(SamplingOptions(rate=1.0, rules=rules), lambda: 0.0)
    tracer = provider.get_tracer("test")
    for _ in range(100):
        for name in "abcd":
            tracer.start(name, SpanKind.SERVER, None, {}).end()
    names = [span.name for span in ended]
    assert 3 <= names.count("a") <= 6  # a second may pass meanwhile
    assert (names.count("b"), names.count("c"), names.count("d")) == (0, 0, 100)
    assert provider.sampled_out.value == 100
    assert provider.sampling_stats()["limited"] == {"rule_limit": 200 - names.count("a")}


def test_the_variable_holds_the_same_rules_as_json():
    rules = [{"path": ["/health*"], "rate": 0}, {"method": "POST", "route": "/orders/{id}", "rate": 0.5, "limit": 10}]
    expected = (
        Rule(path=("/health*",), rate=0.0),
        Rule(method=("POST",), route=("/orders/{id}",), rate=0.5, limit=10),
    )
    assert load({"sample_rules": rules}, {}).sample_rules == expected
    assert load({}, {"OBSKIT_SAMPLE_RULES": json.dumps(rules)}).sample_rules == expected
    assert load({"sample_rules": expected}, {}).sample_rules == expected


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        (
            [{"rate": 0}, {"pth": "/x", "rate": 0}],
            "has in rule 2 the key 'pth', which is none of service, kind, method",
        ),
        ([{"path": "/x"}], "has in rule 1 neither rate nor limit: add 'rate' (0 to 1)"),
        ([{"path": "x", "rate": 0}], "has in rule 1 path='x', which must begin with a slash"),
        ([{"route": "orders/{id}", "rate": 0}], "has in rule 1 route='orders/{id}', which must begin with a slash"),
        ([{"path": [], "rate": 0}], "path=[], which must be text, or a list of texts"),
        ([{"method": 5, "rate": 0}], "method=5, which must be text"),
        ([{"name": ["a", 5], "rate": 0}], "must be text"),
        ([{"service": "", "rate": 0}], "must be text"),
        ([{"kind": "servr", "rate": 0}], "kind='servr', which must be one of internal, server, client"),
        ([{"rate": 1.5}], "has in rule 1 rate=1.5, which must be a number from 0 to 1"),
        ([{"rate": True}], "must be a number"),
        ([{"rate": "0.5"}], "must be a number"),
        ([{"rate": float("nan")}], "must be a number"),
        ([{"limit": -1}], "limit=-1, which must be an integer from 0 to 100000"),
        ([{"limit": 0.5}], "must be an integer"),
        ([{"limit": True}], "must be an integer"),
        (["/health"], "has as rule 1 no mapping"),
        ({"path": "/x", "rate": 0}, "must be a list of rules"),
        ('{"path": "/x", "rate": 0}', "must be a list of rules"),
        ("/health=0", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
    ],
)
def test_a_bad_rule_is_an_error_that_names_rule_key_and_remedy_on_one_line(rules, complaint):
    with pytest.raises(ConfigurationError) as caught:
        load({"sample_rules": rules}, {})
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
