"""Greenlets, generators, streams, and work that must not trace itself."""

from __future__ import annotations

from collections import Counter

from tests.battery.backend import backend, hanging
from tests.battery.lab import PLAIN, Lab
from tests.battery.registry import case
from tests.battery.tools import need

_LONGEST_STALL = 100  # ms


@case(
    36,
    "selftrace",
    "the exporter's own client is instrumented, also in helper threads",
    "no span of one's own delivery",
)
def traces_itself(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("traces_itself", server.url, OBSKIT_INTEGRATIONS="requests,http_client,urllib3,threading")
        assert (run.code, run.err, run.log) == (0, "", ""), f"exit {run.code}: {run.err}{run.log}"
        calls = [request for request in server.requests if request.head.startswith("GET")]
        assert len(calls) == 15, f"{len(calls)} calls of 15 by the exporter"
        assert Counter(server.names) == {"work": 5}, f"delivered {Counter(server.names)}"
        assert not any("x-b3" in call.head.lower() for call in calls), "the delivery's requests carry a trace"
        return "delivered 5/5, 0 of 20 requests by exporters traced"


@case(
    37,
    "gevent",
    "`patch_all` before and after the import; 1000 greenlets; the receiver hangs",
    f"no stall above {_LONGEST_STALL} ms",
    quick=False,
)
def greenlets(lab: Lab) -> str:
    need("gevent")
    plain = lab.run("greenlets", "none", "before", side=PLAIN).notes["stall"] * 1000
    stalls = {when: _longest_stall(lab, when) for when in ("before", "after")}
    most = max(_LONGEST_STALL, 1.5 * plain)
    text = ", ".join(f"patched {when} the import {stall:.0f} ms" for when, stall in stalls.items())
    assert max(stalls.values()) <= most, f"longest stall {text}, without the library {plain:.0f} ms"
    return f"longest stall {text}, without the library {plain:.0f} ms; delivered 10000/10000 where the receiver answers"


def _longest_stall(lab: Lab, when: str) -> float:
    """Return how long the greenlets stood still at most, in milliseconds."""
    with backend() as server:
        lab.settled(lab.compare("greenlets", server.url, when), server, 5000)
    with hanging() as server:
        options = {"OBSKIT_EXIT_TIMEOUT": "0.5", "OBSKIT_FLUSH_INTERVAL": "0.05"}
        run = lab.compare("greenlets", server.url, when, **options)
        lab.settled(run, server, 5000, 0)
        return float(run.notes["stall"]) * 1000


@case(
    38,
    "asyncgen",
    "asynchronous generators: break, cancel, aclose from another task, dropped",
    "each span ends, once; nothing is logged",
)
def async_generators(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("async_generators", server.url)
        assert run.log == "", run.log
        names = Counter(server.names)
        once = dict.fromkeys(["break", "cancel", "elsewhere", "forgotten", "beside", "decorated"], 1)
        assert names == once, dict(names)
        beside = next(span for request in server.taken for span in request.spans if span["name"] == "beside")
        assert "parentId" not in beside, "the span of a decorated generator stayed current behind it"
        return lab.settled(run, server, 6)


@case(39, "stream", "a client goes away amid a stream; a body that is never closed", "the span ends exactly once")
def streams(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("abandoned_streams", server.url)
        assert run.notes.get("done"), run.err
        assert "Traceback" not in run.log, run.log
        paths = Counter(span["tags"]["http.path"] for request in server.taken for span in request.spans)
        assert set(paths.values()) == {1}, f"delivered {dict(paths)}"
        missing = {"/disconnected", "/never-closed", "/closed-twice", "/kept"} - set(paths)
        unseen = len(missing) - run.total("dropped")
        assert not unseen, f"neither delivered nor counted as dropped: {', '.join(sorted(missing))}"
        return f"delivered {len(server.names)}/4, each once"
