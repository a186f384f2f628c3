"""Incidents: derived from the numbers of each minute, from lines and from what Kubernetes told."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from obskit.collector.incidents import Incident, of_changes, of_lines, of_service
from obskit.collector.kubernetes.store import Change
from obskit.collector.lines.line import SEVERITIES, Line
from obskit.collector.store.health_numbers import Numbers

from .test_kubernetes import CRASHING, listed, pod
from .test_pages import outline

MINUTE = 60_000_000


def numbers(calls=100, errors=0, bucket=80):
    return Numbers(calls, errors, Counter({bucket: calls})).minute


def found(minutes, *, until=1_000, called=False):
    return [
        (one.kind, one.first // MINUTE, one.last // MINUTE, one.worst)
        for one in of_service("orders", minutes, until, called=called)
    ]


@pytest.mark.parametrize(
    ("calls", "errors", "is_bad"),
    [(5, 5, True), (4, 4, False), (100, 6, True), (100, 5, False), (10_000, 500, False), (10_000, 501, True)],
)
def test_a_minute_is_bad_from_five_errors_and_over_five_percent_on(calls, errors, is_bad):
    assert bool(found({7: numbers(calls, errors)})) is is_bad


def test_bad_minutes_with_gaps_of_up_to_two_are_one_incident():
    bad, worse = numbers(errors=10), numbers(errors=80)
    assert found({7: bad, 10: worse, 14: bad}) == [("errors", 7, 11, "80% failed"), ("errors", 14, 15, "10% failed")]


def test_slow_is_over_twice_what_was_usual_in_the_hour_before():
    usual = {minute: numbers() for minute in range(100, 130)}
    assert found({**usual, 130: numbers(bucket=87)}) == []  # an octave would be twice as long
    assert found({**usual, 130: numbers(bucket=89)}) == [("slow", 130, 131, "p95 2.2 times that of the hour before")]
    assert found({**usual, 130: numbers(19, bucket=99)}) == []  # too few to tell
    assert found({130: numbers(), 131: numbers(bucket=99)}) == []  # nothing is usual yet
    assert found({**usual, 200: numbers(bucket=99)}) == []  # that was longer ago


def test_a_service_that_others_call_is_silent_after_five_minutes_without_a_request():
    busy = {minute: numbers(1) for minute in range(100, 111)}
    assert found({**busy, 116: numbers(1)}, until=117, called=True) == [("silent", 111, 116, "no request for 5 min")]
    assert found({**busy, 115: numbers(1)}, until=117, called=True) == []
    assert found(busy, until=123, called=True) == [("silent", 111, 123, "no request for 12 min")]
    assert found(busy, until=123, called=False) == []
    assert found({100: numbers(), 200: numbers()}, until=300, called=True) == []  # never busy


def test_lines_of_severity_critical_by_service():
    def line(service, minute):
        return Line(time=minute * MINUTE, severity=SEVERITIES["CRITICAL"], message="x", service=service)

    lines = [line("a", 5), line("a", 5), line("a", 7), line("b", 5)]
    assert of_lines(lines) == [
        Incident("a", "critical lines", 5 * MINUTE, 8 * MINUTE, "up to 2 in a minute"),
        Incident("b", "critical lines", 5 * MINUTE, 6 * MINUTE, "up to 1 in a minute"),
    ]


def test_what_kubernetes_told_lasts_until_it_was_well_again():
    of = ("main", "Pod", "shop", "p")
    changes = [
        Change(400, *of, "failed"),
        Change(300, *of, "well again"),
        Change(200, *of, "app waits: CrashLoopBackOff"),
        Change(200, *of, "restarted (0 to 1)"),
    ]
    assert [(one.first, one.last, one.worst) for one in of_changes(changes, 900_000_000)] == [
        (400_000_000, 900_000_000, "failed"),
        (200_000_000, 300_000_000, "app waits: CrashLoopBackOff"),
        (200_000_000, 200_000_000, "restarted (0 to 1)"),
    ]


def spans(count, *, failed, at):
    error = {"tags": {"error": "boom"}} if failed else {}
    common = {"kind": "SERVER", "name": "get /", "timestamp": at, "duration": 1000, **error}
    where = {"localEndpoint": {"serviceName": "orders"}}
    return [{"traceId": f"{number:016x}", "id": "1", **where, **common} for number in range(1, count)]


def test_the_page(client):
    assert "No incidents" in "".join(outline(client.get("/incidents")).text)
    at = int((time.time() - 600) * 1_000_000)
    client.post(spans(9, failed=True, at=at))
    client.post(listed(pod("<b>", ready=False, state=CRASHING)), "/api/obskit/v1/kubernetes")
    client.post(b'{"severity": "CRITICAL", "message": "no room"}', "/api/obskit/v1/lines?service=orders")
    page = outline(client.get("/incidents"))
    text = "".join(page.text)
    assert "100% failed" in text
    assert "app waits: CrashLoopBackOff" in text
    assert "up to 1 in a minute" in text
    assert "b" not in page.elements
    links = {value.partition("?")[0]: value for name, value in page.attributes if name == "href" and "?" in value}
    assert "ordersget / error" in "".join(outline(client.get(links["/traces"])).text)
    assert "no room" in "".join(outline(client.get(links["/logs"])).text)
    assert "app waits" in "".join(outline(client.get(links["/kubernetes"])).text)
    assert client.get("/incidents?last=x").status == 400
