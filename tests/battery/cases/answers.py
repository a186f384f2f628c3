"""What the receiver answers: errors, limits, resets and redirects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from time import time

from tests.battery.backend import ACCEPT, Answer, Request, backend, first, reply, reset
from tests.battery.lab import Lab
from tests.battery.registry import case

_LONGEST_WAIT = 35  # seconds: the cap on Retry-After, and a little


@case(15, "503-once", "503, then 202", "all delivered", peers=True)
def unavailable_once(lab: Lab) -> str:
    with backend(first(reply(503))) as server:
        return lab.settled(lab.compare("five_spans", server.url, 10), server, 5)


@case(16, "429", "`Retry-After`: 1, a date, garbage, a week", "waits, within a cap, then delivers", peers=True)
def too_many_requests(lab: Lab) -> str:
    values = {"seconds": "1", "date": "date", "garbage": "soon\tish"}
    if lab.thorough:
        values["huge"] = "604800"
    with ThreadPoolExecutor() as pool:
        waits = dict(zip(values, pool.map(lambda item: _throttled(lab, *item), values.items()), strict=True))
    assert waits["seconds"] >= 1, f"sent again after {waits['seconds']:.2f} s although Retry-After was 1"
    assert waits["date"] >= 0.9, f"sent again after {waits['date']:.2f} s although the date was 1 to 2 s ahead"
    assert waits.get("huge", 0) <= _LONGEST_WAIT
    return "waited " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in waits.items())


def _throttled(lab: Lab, name: str, value: str) -> float:
    """Return how long the sender waited; the spans must have arrived after all."""
    times: list[float] = []

    def policy(_request: Request) -> Answer:
        times.append(time())
        wait = formatdate(time() + 2, usegmt=True) if value == "date" else value  # a date has whole seconds
        return reply(429, f"Retry-After: {wait}\r\n") if len(times) == 1 else ACCEPT

    with backend(policy) as server:
        inner = Lab(lab.folder / name, lab.side, lab.python)
        inner.settled(inner.compare("five_spans", server.url, _LONGEST_WAIT + 10, timeout=120), server, 5)
    return times[1] - times[0]


@case(17, "413", "413 for bodies above 600 bytes", "split and delivered; only a lone giant is dropped", peers=True)
def too_large(lab: Lab) -> str:
    with backend(lambda request: reply(413) if request.size > 600 else ACCEPT) as server:
        run = lab.compare("five_spans", server.url, 10, "giant")
        figure = lab.settled(run, server, 6, 5)
        assert sorted(server.names) == [f"span {number}" for number in range(5)]
        assert run.log.count("\n") <= 2 or not lab.is_obskit, f"more than a warning and its end: {run.log}"
        return figure


@case(18, "reset", "RST after the body, twice", "delivered; the same ids when sent again", peers=True)
def connection_reset(lab: Lab) -> str:
    with backend(first(reset, reset)) as server:
        figure = lab.settled(lab.compare("five_spans", server.url, 10), server, 5)
        if lab.is_obskit:
            bodies = [request.spans for request in server.posts]
            assert bodies[0] == bodies[1] == bodies[2], "what was sent again differs"
        return f"{figure}, {len(server.posts)} attempts"


@case(20, "redirect", "307 to another origin", "refused and counted", peers=True)
def redirected(lab: Lab) -> str:
    with backend() as other, backend() as server:
        origin = f"http://127.0.0.1:{other.port}"
        server.policy = lambda request: reply(307, f"Location: {origin}{request.path}\r\n")
        run = lab.compare("five_spans", server.url, 10)
        assert not other.requests, f"{len(other.names)} of 5 spans went to the other origin"
        if lab.is_obskit:
            assert run.dropped == {"redirected": 5}, f"dropped {run.dropped}"
        return lab.settled(run, server, 5, 0)
