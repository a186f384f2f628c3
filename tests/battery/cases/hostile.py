"""What the application hands over: values, callbacks and text that nobody expects."""

from __future__ import annotations

import json
from typing import Any

from tests.battery.backend import backend
from tests.battery.lab import Lab
from tests.battery.registry import case


@case(24, "poison", "one of five spans has the integer 10**5000", "the other four are delivered", peers=True)
def poison(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("one_poisoned", server.url)
        good = [name for name in server.names if name.startswith("good")]
        assert len(good) == 4, f"delivered {len(good)} of the four good ones, exit {run.code}"
        return lab.settled(run, server, 5, -1)


@case(
    26,
    "hooks",
    "the application's callbacks raise: `__str__`, log handlers, requests' hooks",
    "its calls succeed",
    peers=True,
)
def raising_hooks(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("raising_hooks", server.url, OBSKIT_INTEGRATIONS="requests,http_client,urllib3")
        if not lab.is_obskit:
            return f"exit {run.code}, delivered {len(server.names)}"
        assert "failed inside obskit" not in run.log, run.log
        return lab.settled(run, server, 4)


@case(27, "processor", "an attached span processor raises", "swallowed; the others go on", peers=True)
def raising_processor(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("raising_processor", server.url)
        assert len(server.names) == 5, f"delivered {len(server.names)}/5, exit {run.code}"
        return lab.settled(run, server, 5)


@case(
    29,
    "json-hostile",
    "logged: NaN, infinity, bytes, sets, cycles, tuple keys, 10**5000, ...",
    "one line of strict JSON each",
)
def hostile_json(lab: Lab) -> str:
    run = lab.run("hostile_logs", OBSKIT_LOGS="json")
    assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
    lines = _strict_lines(run.out)
    assert len(lines) == run.notes["lines"], f"{len(lines)} lines for {run.notes['lines']} records"
    missing = [line for line in lines if "case_name" not in line]
    assert not missing, f"fields lost: {missing[0]}"
    return f"{len(lines)}/{run.notes['lines']} lines of strict JSON"


def _strict_lines(text: str) -> list[dict[str, Any]]:
    """Parse each line as RFC 8259 has it: no NaN, and no key twice."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assert len(found) == len(pairs), f"a key appears twice: {[key for key, _ in pairs]}"
        return found

    lines = text.split("\n")
    assert lines.pop() == "", "the last line has no end"
    return [json.loads(line, parse_constant=refuse, object_pairs_hook=unique) for line in lines]


@case(30, "surrogate", "a lone surrogate in a log line and in a tag", "valid UTF-8 in both")
def lone_surrogate(lab: Lab) -> str:
    with backend() as server:
        run = lab.run("lone_surrogate", server.url, OBSKIT_LOGS="json")
        assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
        _no_surrogates(_strict_lines(run.out))
        for request in server.taken:
            request.body.decode()
            _no_surrogates(request.spans)
        return lab.settled(run, server, 2)


def _no_surrogates(value: Any) -> None:
    """A JSON escape of half a surrogate pair is no text either."""
    json.dumps(value, ensure_ascii=False).encode()


@case(
    32,
    "crlf",
    "newlines, U+2028 and ANSI codes in a log line; fields named like the entry's own",
    "one line; not spoofed",
)
def line_breaks(lab: Lab) -> str:
    run = lab.run("forged_logs", OBSKIT_LOGS="json")
    assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
    lines = _strict_lines(run.out)
    assert len(lines) == 4, f"{len(lines)} lines for 4 records"
    assert len(run.out.splitlines()) == 4, "some readers see more lines than there are records"
    assert not any(ord(char) < 32 for char in run.out.replace("\n", "")), "raw control characters"
    for line in lines:
        _genuine(line)
    return "4/4 records on one line each, none forged"


def _genuine(line: dict[str, Any]) -> None:
    assert line["severity"] == "WARNING", f"severity forged: {line['severity']}"
    assert line["logger"] == "forged", f"logger forged: {line['logger']}"  # that is its name
    assert line["time"].startswith("20"), f"time forged: {line['time']}"
    assert "forged" not in line["logging.googleapis.com/trace"] + line["logging.googleapis.com/spanId"]


@case(
    64,
    "mocked-network",
    "the application mocks http.client, sockets and TLS while spans are delivered",
    "delivered; the mocks see the application's calls only",
)
def mocked_network(lab: Lab) -> str:
    with backend() as server:
        run = lab.compare("mocked_network", server.url)
        return lab.settled(run, server, 5)
