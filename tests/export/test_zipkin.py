"""Spans of a configured program, as a Zipkin server receives them; faults of that server."""

from __future__ import annotations

import ipaddress
import json
import logging
import subprocess
import sys

import pytest

import obskit
from tests.export.receiver import eventually, free_port, receiver, reply, reset

pytestmark = pytest.mark.usefixtures("fresh")


def start(url: str, **options) -> None:
    obskit.init(service="Orders", exporter=url, integrations=[], flush_interval=0.01, **options)


def make(*names: str) -> None:
    for name in names:
        with obskit.span(name):
            pass


def counts() -> dict[str, int]:
    (one,) = [one for one in obskit.stats()["exporters"] if one["worker"] != "closed"]
    return {"delivered": one["delivered"], "queued": one["queued"], **one["dropped"]}


def test_a_span_arrives_as_zipkin_defines_it():
    with receiver() as server:
        start(server.url)
        with obskit.span("Parent", text="a", number=7, truth=True, many=["a", 1]), obskit.span("child") as child:
            child.annotate("here")
        assert obskit.flush()
        first, second = server.spans
    assert (first["name"], second["name"]) == ("child", "parent")
    assert first["traceId"] == second["traceId"]
    assert first["parentId"] == second["id"]
    assert "parentId" not in second
    assert second["tags"] == {"many": '["a",1]', "number": "7", "text": "a", "truth": "true"}
    assert second["localEndpoint"].pop("serviceName") == "orders"
    assert all(ipaddress.ip_address(value) for value in second["localEndpoint"].values())
    assert [note["value"] for note in first["annotations"]] == ["here"]
    assert 0 < first["duration"] <= second["duration"]
    assert second["timestamp"] <= first["timestamp"]


def test_all_are_delivered_after_one_503():
    with receiver(reply(503)) as server:
        start(server.url)
        make(*"abc")
        eventually(lambda: counts() == {"delivered": 3, "queued": 0})
        assert server.bodies[0] == server.bodies[1]


def test_all_are_delivered_after_retry_after():
    with receiver(reply(429, "Retry-After: 1\r\n")) as server:
        start(server.url)
        make(*"abc")
        eventually(lambda: counts() == {"delivered": 3, "queued": 0})


def test_all_are_delivered_with_the_same_ids_after_a_reset():
    with receiver(reset) as server:
        start(server.url)
        make(*"abc")
        eventually(lambda: counts() == {"delivered": 3, "queued": 0})
        assert server.bodies[0] == server.bodies[1]


def test_spans_made_before_the_receiver_came_up_are_delivered_and_both_is_said_once(caplog):
    caplog.set_level(logging.INFO, "obskit")
    port = free_port()
    start(f"http://127.0.0.1:{port}")
    make("early")
    eventually(lambda: caplog.records)
    make("later")
    with receiver(port=port) as server:
        eventually(lambda: counts() == {"delivered": 2, "queued": 0})
        assert server.names == ["early", "later"]
    eventually(lambda: len(caplog.records) == 2)
    warning, recovery = (record.getMessage() for record in caplog.records)
    assert f"1 span could not be delivered to http://127.0.0.1:{port}/api/v2/spans" in warning
    assert "refused" in warning
    assert "again" in recovery


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_batch_is_counted_and_the_next_one_delivered(status):
    with receiver(reply(status)) as server:
        start(server.url)
        make("bad")
        assert not obskit.flush()
        make("good")
        assert obskit.flush()
        assert counts() == {"delivered": 1, "queued": 0, f"http_{status}": 1}


def test_a_redirect_to_another_origin_is_counted():
    with receiver() as other, receiver(reply(307, f"Location: {other.url}\r\n")) as server:
        start(server.url)
        make("a")
        assert not obskit.flush()
        assert counts() == {"delivered": 0, "queued": 0, "redirected": 1}
        assert other.connections == 0


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no")


class Text(str):
    __slots__ = ()


POISON = {
    "giant": 10**5000,
    "giants": [10**5000, 2**70],
    "surrogate": "a\ud800b",
    "surrogates": ["a\ud800b"],
    "unprintable": Unprintable(),
    "nan": float("nan"),
    "text": Text("subclass"),
    "nothing": None,
    "bytes": b"\xff",
    "line": "a\u2028b",
}


@pytest.mark.parametrize("key", POISON)
def test_a_strange_value_spoils_neither_its_span_nor_others(key):
    with receiver() as server:
        start(server.url)
        make("before")
        with obskit.span("strange", **{key: POISON[key]}) as span:
            span.add_event("event", {key: POISON[key]})
        make("after")
        assert obskit.flush()
        assert server.names == ["before", "strange", "after"]
        assert isinstance(server.spans[1]["tags"][key], str)
        assert counts() == {"delivered": 3, "queued": 0}


def test_a_span_that_cannot_be_encoded_at_all_is_lost_alone():
    with receiver() as server:
        start(server.url)
        make("before")
        with obskit.span("spoiled") as span:
            span.name = 5
        with obskit.span("\ud800"):
            pass
        make("after")
        assert not obskit.flush()
        assert server.names == ["before", "?", "after"]
        assert counts() == {"delivered": 3, "queued": 0, "unencodable": 1}


def test_credentials_of_the_url_are_sent_and_never_shown(caplog):
    with receiver(reply(400)) as server:
        start(f"http://user:secret@127.0.0.1:{server.port}?key=hidden")
        make("a")
        assert not obskit.flush()
        assert "Authorization: Basic dXNlcjpzZWNyZXQ=" in server.heads[0]
        assert server.heads[0].startswith("POST /api/v2/spans?key=hidden ")
        shown = json.dumps(obskit.stats()) + caplog.text
    assert f"http://127.0.0.1:{server.port}/api/v2/spans" in shown
    assert "could not be delivered" in shown
    assert "secret" not in shown
    assert "hidden" not in shown


def test_the_sender_is_not_traced_by_what_it_uses():
    """The exporter's own http.client calls must not become spans, or each delivery makes another."""
    with receiver() as server:
        obskit.init(exporter=server.url, flush_interval=0.01)
        make("a")
        assert obskit.flush()
        assert obskit.flush()
        assert server.names == ["a"]


def test_every_exporter_gets_every_span_and_one_in_trouble_does_not_hold_up_the_other():
    with receiver() as good, receiver() as bad:
        bad.answers = [bad.hang]
        start([good.url, bad.url])
        make("a")
        eventually(lambda: good.names == ["a"])
        assert not obskit.flush(0.1)
        first, second = obskit.stats()["exporters"]
        assert (first["delivered"], second["queued"]) == (1, 1)


def test_console_prints_one_json_object_a_line(capfd):
    obskit.init(exporter="console", integrations=[])
    make("a", "b\u2028")
    assert obskit.flush()
    lines = capfd.readouterr().out.split("\n")
    assert [json.loads(line)["name"] for line in lines[:-1]] == ["a", "b\u2028"]


def test_a_broken_pipe_on_standard_output_is_the_console_exporters_problem_alone():
    code = """
import obskit, sys
obskit.init(exporter='console', integrations=[])
with obskit.span('a'): pass
obskit.flush()
print('done', file=sys.stderr)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    program.stdout.close()
    assert "done" in program.communicate(timeout=30)[1]
