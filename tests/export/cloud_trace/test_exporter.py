"""Spans arrive at Cloud Trace's API; what it refuses, and what cannot be sent, is counted with its reason."""

from __future__ import annotations

import time
from typing import Any

import pytest

from obskit.export.cloud_trace.exporter import CloudTraceExporter, parse_url
from obskit.export.delivery.exporter import DELIVERED, UNREACHABLE, Outcome
from obskit.export.destinations import Making, parse
from obskit.zipkin.model import Span
from tests.export.receiver import free_port
from tests.logs.cloud import google_fakes


def span(number: int = 1, **fields: Any) -> Span:
    now = time.time_ns() // 1000
    given = {"trace_id": "1" * 32, "id": f"{number:016x}", "name": f"get {number}", "timestamp": now, "duration": 5}
    return Span(**{**given, **fields})


@pytest.fixture
def make():
    made = []

    def build(url: str = "cloudtrace://the-project", project: str = "") -> CloudTraceExporter:
        _, build_it = parse(url).plan(Making(lambda: lambda given: given, lambda: None, project))
        made.append(build_it())
        return made[-1]

    yield build
    for exporter in made:
        exporter.close()


def send(exporter: CloudTraceExporter, *spans: Span, seconds: float = 10.0) -> Outcome:
    return exporter.send([exporter.encode(one) for one in spans], time.monotonic() + seconds)


def test_spans_arrive_in_one_request_and_the_next_ones_too(make, cloud):
    exporter = make()
    assert send(exporter, span(1, tags={"http.method": "GET"}), span(2)) == DELIVERED
    assert send(exporter, span(3)) == DELIVERED
    assert cloud.names == ["get 1", "get 2", "get 3"]
    assert cloud.sizes == [2, 1]
    assert cloud.projects == ["the-project", "the-project"]
    assert cloud.spans[0]["attributes"]["attributeMap"]["/agent"] == {"stringValue": {"value": "obskit"}}
    assert "Authorization" not in cloud.headers[0]


def test_a_service_accounts_token_goes_with_each_request_and_its_project_is_the_default(make, guarded):
    exporter = make("cloudtrace://")
    assert send(exporter, span(1)) == send(exporter, span(2)) == DELIVERED
    assert guarded.projects == ["the-accounts-project"] * 2
    assert [headers["authorization"] for headers in guarded.headers] == ["Bearer token-1"] * 2
    assert guarded.tokens == 1


def test_a_refused_token_is_renewed_once(make, guarded):
    guarded.answers += [(401, {}, "expired")]
    assert send(make(), span(1)) == DELIVERED
    assert guarded.tokens == 2
    guarded.answers += [(401, {}, "no"), (401, {}, "no")]
    outcome = send(make(), span(2))
    assert (outcome.reason, outcome.retry, guarded.tokens) == ("http_401", False, 4)
    assert guarded.names == ["get 1"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_to_be_tried_again_when_the_server_says(make, cloud, status):
    cloud.answers += [(status, {"Retry-After": "7"}, "later")]
    outcome = send(make(), span())
    assert (outcome.reason, outcome.retry, outcome.retry_after) == (f"http_{status}", True, 7.0)
    assert outcome.detail == f"{status} later"


@pytest.mark.parametrize(
    ("status", "hint"), [(403, "roles/cloudtrace.agent in project the-project"), (404, "is the-project")]
)
def test_a_lasting_refusal_says_what_to_do(make, cloud, status, hint):
    cloud.answers += [(status, {}, "as told\r\n")]
    outcome = send(make(), span())
    assert (outcome.reason, outcome.retry) == (f"http_{status}", False)
    assert outcome.detail.startswith(f"{status} as told; ")
    assert hint in outcome.detail


def test_a_redirect_is_not_followed(make, cloud):
    cloud.answers += [(307, {"Location": "http://elsewhere/"}, "")]
    assert send(make(), span()).reason == "redirected"


def test_a_bad_span_costs_its_neighbours_nothing(make, cloud):
    bad = {"get 5", "get 12"}
    cloud.judge = lambda spans: (400, {}, "bad") if bad & {s["displayName"]["value"] for s in spans} else (200, {}, "")
    outcome = send(make(), *(span(number) for number in range(1, 21)))
    assert outcome == DELIVERED._replace(rejected=2)
    assert sorted(cloud.names) == sorted({f"get {number}" for number in range(1, 21)} - bad)


def test_a_request_that_is_refused_whatever_it_holds_is_not_cut_up_for_ever(make, cloud):
    cloud.judge = lambda _: (400, {}, "bad")
    assert send(make(), *(span(number) for number in range(1, 1001))).rejected == 1000
    assert len(cloud.sizes) <= 250


def test_a_failure_after_some_were_written_has_all_sent_again(make, cloud):
    def judge(spans):
        return (
            (400, {}, "bad")
            if len(cloud.sizes) == 1
            else (503, {}, "later")
            if len(cloud.sizes) == 3
            else (200, {}, "")
        )

    cloud.judge = judge
    exporter = make()
    assert send(exporter, span(1), span(2)).retry
    assert send(exporter, span(1), span(2)) == DELIVERED
    assert cloud.names == ["get 1", "get 1", "get 2"]


def test_a_span_that_the_api_would_refuse_is_not_sent(make, cloud):
    exporter = make()
    outcome = send(exporter, span(1, timestamp=None, duration=None), span(2), span(3, id="0" * 16))
    assert outcome == DELIVERED._replace(rejected=2)
    assert cloud.names == ["get 2"]
    assert send(exporter, span(4, timestamp=1)) == DELIVERED._replace(rejected=1)
    assert cloud.sizes == [1]


def test_what_is_too_long_or_too_much_is_cut_to_what_the_api_takes(make, cloud):
    tags = {f"{'k' * number}": "é" * 300 for number in range(100, 140)}
    assert send(make(), span(name="日" * 100, tags=tags)) == DELIVERED
    assert cloud.spans[0]["attributes"]["droppedAttributesCount"] == 11
    assert cloud.spans[0]["displayName"]["truncatedByteCount"] == 300 - 126


def test_nobody_there_is_unreachable_and_may_come(make, monkeypatch):
    monkeypatch.setenv("OBSKIT_CLOUDTRACE_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    outcome = send(make(), span())
    assert (outcome.reason, outcome.retry) == (UNREACHABLE, True)


def test_no_credentials_says_what_to_do_and_may_be_tried_again(make, monkeypatch, tmp_path):
    outcome = send(make(), span())
    assert (outcome.reason, outcome.retry) == ("no_credentials", True)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    assert "missing.json" in send(make(), span()).detail


def test_without_a_project_nothing_is_sent(make, cloud):
    outcome = send(make("cloudtrace://"), span())
    assert (outcome.reason, outcome.retry) == ("no_project", True)
    assert "cloudtrace://PROJECT" in outcome.detail
    assert cloud.sizes == []


def test_the_project_is_the_settings_else_the_metadata_servers(make, cloud, monkeypatch):
    assert send(make("cloudtrace://", "set"), span()) == DELIVERED
    monkeypatch.delenv("NO_GCE_CHECK")
    with google_fakes.metadata({"project/project-id": "found"}) as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        assert send(make("cloudtrace://"), span()) == DELIVERED
    assert cloud.projects == ["set", "found"]


def test_a_project_with_odd_characters_stays_one_segment_of_the_path(make, cloud):
    send(make("cloudtrace://", 'a/b"c'), span())
    assert cloud.projects == []


@pytest.mark.parametrize("url", ["cloudtrace://A_B", "cloudtrace://a/b", "cloudtrace://user@p", "cloudtrace://p?x=1"])
def test_a_url_whose_project_is_none_is_refused(url):
    with pytest.raises(ValueError, match="write cloudtrace://PROJECT"):
        parse_url(url, {})


def test_a_domains_project_is_one():
    assert parse_url("cloudtrace://example.com:shop/", {}).project == "example.com:shop"
