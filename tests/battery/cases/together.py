"""Living together: other libraries of the kind, and being switched off."""

from __future__ import annotations

from tests.battery.backend import backend
from tests.battery.lab import ROOT, Lab
from tests.battery.registry import Skipped, case

_PEERS = ROOT / ".venvs" / "peers" / "bin" / "python"


@case(58, "many-SDKs", "obskit, OpenTelemetry, Sentry and ddtrace in one process, load, fork, unwrapped", "no deadlock")
def many_sdks(lab: Lab) -> str:
    if not _PEERS.exists():
        raise Skipped("the other libraries are not here: make battery-peers installs them")
    inner = Lab(lab.folder / "peers", lab.side, str(_PEERS))
    with backend() as server, backend() as sink:
        options = {"OBSKIT_INTEGRATIONS": "requests,http_client,urllib3", "SINK": f"http://127.0.0.1:{sink.port}"}
        run = inner.run("many_sdks", server.url, timeout=120, **options)
        assert (run.code, run.out) == (0, "done\n"), f"exit {run.code}: {run.err[-500:]}"
        assert "Traceback" not in run.log, run.log
        for name, count in (("child", run.notes["forks"]), ("work", run.notes["calls"])):
            arrived = server.names.count(name)
            assert arrived == count, f"delivered {arrived}/{count} spans named {name}"
        return f"6 orders of unwrapping, {run.notes['calls']} calls, {run.notes['forks']} forks, all delivered"


@case(
    60,
    "kill-switch",
    "`OBSKIT_ENABLED=false`; shutdown(unpatch=True) under load",
    "originals back by identity; no threads, no sockets",
)
def kill_switch(lab: Lab) -> str:
    _switched_off(lab)
    with backend() as server:
        run = lab.run("unpatched_under_load", server.url, OBSKIT_INTEGRATIONS="", OBSKIT_LOGS="json")
    assert (run.code, run.err) == (0, ""), f"exit {run.code}: {run.err}"
    found = run.notes
    assert not found["failures"], found["failures"]
    assert not found["changed"], f"not the originals: {found['changed']}"
    assert found["handlers"], "the root logger's handlers are not what they were"
    assert len(found["finders"]) <= 1, found["finders"]  # one stays: OpenTelemetry's provider cannot be taken back
    assert not found["workers"], f"threads left: {found['workers']}"
    return f"switched off: 1 thread, 0 sockets; unpatched 6 times amid {found['calls']} calls, 0 failures"


def _switched_off(lab: Lab) -> None:
    options = {"OBSKIT_ENABLED": "false", "OBSKIT_INTEGRATIONS": "", "OBSKIT_LOGS": "json"}
    with backend() as server:
        run = lab.run("switched_off", server.url, **options)
        assert not server.connections, f"{server.connections} connections although switched off"
    assert (run.code, run.err) == (0, "as ever\n"), f"exit {run.code}: {run.err}"
    found = run.notes
    assert all(found["same"]), f"patched although switched off: {found['same']}"
    assert (found["sent"], found["submit"]) == ("HTTPConnectionPool._make_request", "ThreadPoolExecutor.submit")
    assert (found["threads"], found["sockets"], found["handlers"]) == (1, [], 0), found
