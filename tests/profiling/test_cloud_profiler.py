"""Cloud Profiler's protocol, against a server that speaks it, and beside Google's own agent."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from obskit.export.gcp.account import is_delivering
from obskit.profiling import cloud_profiler
from obskit.profiling.cloud_profiler import CloudProfilerOutput
from obskit.profiling.cloud_profiler_endpoint import service_name
from obskit.profiling.outputs import Assignment, Stop
from obskit.profiling.profiler import Profiler
from tests.export.proxy_server import proxy_server
from tests.export.receiver import FORK, clean_environ, eventually, free_port, receiver, run
from tests.logs.cloud import google_fakes
from tests.profiling import profiler_server
from tests.profiling.profiler_server import CloudProfiler, answer, close, drip, error, serve, turn

PROFILE = gzip.compress(b"a profile")
BOTH = ("CPU", "WALL")
PLATFORM = ("KUBERNETES_SERVICE_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GCE_METADATA_HOST", "GOOGLE_CLOUD_PROJECT")


class Clock(Stop):
    """Notes how long it is waited for, and lets no time pass; stops after ``most`` waits."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._most = most

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        if len(self.waits) >= self._most:
            self.ask()
        return self.asked


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Run as on a machine of no cloud's, without settings from outside."""
    for name in [*PLATFORM, "GOOGLE_APPLICATION_CREDENTIALS", "OTEL_RESOURCE_ATTRIBUTES"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    caplog.set_level(logging.INFO, "obskit")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudProfiler]:
    with serve() as server:
        monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", server.address)
        yield server
        assert server.problems == []


def make_output(version: str | None = "7", project: str | None = "p") -> CloudProfilerOutput:
    return CloudProfilerOutput(BOTH, "orders", version, project)


def take_turn(output: CloudProfilerOutput, clock: Clock | None = None) -> Assignment:
    assignment = output.wait_turn(clock or Clock())
    assert assignment is not None
    return assignment


# Turns and uploads


def test_a_turn_is_asked_for_with_all_that_identifies_the_deployment_and_its_profile_is_uploaded(cloud):
    cloud.turns.append(turn("WALL", "10s"))
    output = make_output()
    assert take_turn(output) == Assignment("WALL", 10.0)
    assert output.deliver(Assignment("WALL", 10.0), PROFILE)

    deployment = {"projectId": "p", "target": "orders", "labels": {"language": "python", "version": "7"}}
    assert cloud.creates[0].path == "/v2/projects/p/profiles"
    assert cloud.creates[0].body == {"profileType": ["CPU", "WALL"], "deployment": deployment}
    assert cloud.patches[0].path == "/v2/projects/p/profiles/profile-1"
    assert cloud.pprof() == b"a profile"
    assert output.stats() == {"turns": 1, "delivered": 1, "lost": 0, "failures": 0}


def test_an_upload_repeats_what_the_server_said_of_the_profile(cloud):
    said = {"name": "projects/p/profiles/a=b%20~.x", "profileType": "CPU", "duration": "0.250s", "labels": {"a": "b"}}
    cloud.turns.append(answer(200, said))
    output = make_output()
    assignment = take_turn(output)
    assert assignment.duration == 0.25
    assert output.deliver(assignment, PROFILE)
    sent = dict(cloud.patches[0].body)
    del sent["profileBytes"]
    assert sent == said


def test_a_profile_that_nobody_asked_for_is_lost_and_not_sent(cloud):
    cloud.turns.append(turn("WALL"))
    output = make_output()
    assert not output.deliver(Assignment("CPU", 1.0), PROFILE)
    take_turn(output)
    assert not output.deliver(Assignment("CPU", 1.0), PROFILE)
    assert cloud.patches == []
    assert output.stats()["lost"] == 2


def test_the_profiler_takes_what_the_server_wants_and_what_arrives_can_be_read(cloud):
    cloud.turns += [turn("CPU", "0.1s"), turn("WALL", "0.1s")]
    profiler = Profiler("Cloud Profiler", make_output, 100, heap=False)
    profiler.start()
    eventually(lambda: len(cloud.patches) == 2 and len(cloud.creates) == 3)
    assert profiler.stop(time.monotonic() + 5)
    eventually(lambda: cloud.left == 1)
    kinds = [profiler_server.decode(cloud.pprof(index)).sample_types[1] for index in (0, 1)]
    assert kinds == [("cpu", "nanoseconds"), ("wall", "nanoseconds")]
    assert profiler.stats()["profiles"] == 2


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_profiles_go_through_the_proxy_that_the_environment_names(cloud, monkeypatch, variable):
    with proxy_server(urlsplit(cloud.address).port) as proxy:
        monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", "http://profiler.example")
        monkeypatch.setenv(variable, f"http://me:secret@127.0.0.1:{proxy.port}")
        cloud.turns.append(turn("WALL", "10s"))
        output = make_output()
        assert output.deliver(take_turn(output), PROFILE)
        lines = [head.splitlines()[0] for head in proxy.heads]
        assert lines == [
            "POST http://profiler.example/v2/projects/p/profiles HTTP/1.1",
            "PATCH http://profiler.example/v2/projects/p/profiles/profile-1 HTTP/1.1",
        ]
        assert all("Proxy-Authorization: Basic bWU6c2VjcmV0" in head for head in proxy.heads)


def test_a_proxy_that_refuses_is_named_without_its_password(cloud, monkeypatch, caplog):
    with proxy_server(1, b"HTTP/1.1 407 Who are you\r\n\r\n") as proxy:
        monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", "http://profiler.example")
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        assert make_output().wait_turn(Clock(1)) is None
        assert f"407 Who are you (through the proxy 127.0.0.1:{proxy.port})" in caplog.text
        assert "secret" not in caplog.text


# Staying away


def test_to_be_turned_away_is_no_failure_and_the_server_says_for_how_long(cloud, caplog):
    cloud.turns += [error(409, "ABORTED", "61.5s"), error(409, "ABORTED", "7s"), turn()]
    clock, output = Clock(), make_output()
    take_turn(output, clock)
    assert clock.waits == [61.5, 7.0]
    assert caplog.messages == []
    assert output.stats()["failures"] == 0


@pytest.mark.parametrize(
    ("refusal", "wait"),
    [
        (error(429, "RESOURCE_EXHAUSTED", "90s"), 90.0),
        (error(503, "UNAVAILABLE", None, Retry_After="120"), 120.0),
        (error(500, "INTERNAL", "2s", Retry_After="120"), 2.0),
        (error(429, "RESOURCE_EXHAUSTED", "0s"), 1.0),
        (error(429, "RESOURCE_EXHAUSTED", "999999999s"), 3600.0),
    ],
)
def test_a_refusal_says_how_long_to_stay_away(cloud, refusal, wait):
    cloud.turns += [refusal, turn()]
    clock = Clock()
    take_turn(make_output(), clock)
    assert clock.waits == [wait]


@pytest.mark.parametrize(
    "refusal",
    [
        error(429, "RESOURCE_EXHAUSTED"),
        error(429, "RESOURCE_EXHAUSTED", "soon"),
        error(429, "RESOURCE_EXHAUSTED", "-5s"),
        error(429, "RESOURCE_EXHAUSTED", "NaNs", Retry_After="Tue"),
        error(500, "INTERNAL"),
        error(403, "PERMISSION_DENIED"),
        answer(404, b"<html>no JSON</html>"),
        answer(400, {"error": "text"}),
        answer(400, {"error": {"message": 5, "details": [3, {"retryDelay": 4}]}}),
        answer(302, Location="http://127.0.0.1:1/"),
        answer(200, b"[" * 100_000),
        answer(200, ["a list"]),
        answer(200, {"name": "projects/p/profiles/x", "profileType": "CPU"}),
        turn("HEAP"),
        turn("CPU", "ten seconds"),
        turn("CPU", name="projects/p/profiles/x/../../other"),
        turn("CPU", name="projects/p/profiles/x\r\nHost: other"),
        turn("CPU", name="elsewhere"),
        close,
    ],
)
def test_where_the_server_says_nothing_of_use_the_pause_is_a_minute_with_jitter_then_twice_that(cloud, refusal):
    cloud.turns += [refusal, refusal, error(409, "ABORTED", "1s"), refusal, turn()]
    clock, output = Clock(), make_output()
    take_turn(output, clock)
    first, second, _, again = clock.waits
    assert 30 <= first <= 60 <= second <= 120
    assert 30 <= again <= 60, "an answer that makes sense begins the pauses anew"
    assert output.stats()["failures"] == 3


def test_pauses_grow_to_an_hour_and_no_further(cloud):
    cloud.turns += [error(500, "INTERNAL")] * 12
    clock = Clock(12)
    assert make_output().wait_turn(clock) is None
    assert 1800 <= clock.waits[-1] <= 3600


def test_trouble_is_told_once_and_so_is_its_end(cloud, caplog):
    cloud.turns += [error(500, "INTERNAL"), close, error(503, "UNAVAILABLE"), turn(), error(500, "INTERNAL"), turn()]
    output = make_output()
    take_turn(output)
    take_turn(output)
    told = [record.levelname for record in caplog.records]
    assert told == ["WARNING", "INFO", "WARNING", "INFO"]
    assert caplog.messages[0] == "Asking Cloud Profiler for a turn failed (500 as told)"
    assert caplog.messages[1] == "Asking Cloud Profiler for a turn works again"


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_permission_is_told_with_its_remedy_in_one_line(cloud, caplog, status):
    cloud.turns += [error(status, "NO", message="a\nb\x1b[2J" + "x" * 9999), turn()]
    take_turn(make_output())
    assert "roles/cloudprofiler.agent" in caplog.messages[0]
    assert "cloudprofiler.googleapis.com" in caplog.messages[0]
    assert caplog.messages[0].isprintable()
    assert len(caplog.messages[0]) < 700


def test_a_server_that_is_not_there_is_told_once(monkeypatch, caplog):
    monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    output = make_output()
    assert output.wait_turn(Clock(3)) is None
    assert len(caplog.messages) == 1
    assert output.stats()["failures"] == 3


# Failing uploads


def test_an_upload_is_tried_again_after_failures_that_may_pass(cloud, caplog):
    cloud.turns.append(turn())
    cloud.uploads += [error(503, "UNAVAILABLE"), close, error(429, "RESOURCE_EXHAUSTED", "3s"), answer(200)]
    clock, output = Clock(), make_output()
    assert output.deliver(take_turn(output, clock), PROFILE)
    assert [patch.body for patch in cloud.patches] == [cloud.patches[0].body] * 4
    first, second, told = clock.waits
    assert 0.5 <= first <= 1 <= second <= 2
    assert told == 3.0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert output.stats() == {"turns": 1, "delivered": 1, "lost": 0, "failures": 3}


@pytest.mark.parametrize("refusal", [error(400, "INVALID_ARGUMENT"), error(403, "NO"), error(429, "LATER", "61s")])
def test_an_upload_that_is_refused_for_good_or_for_too_long_is_lost(cloud, refusal):
    cloud.turns.append(turn())
    cloud.uploads.append(refusal)
    output = make_output()
    assert not output.deliver(take_turn(output), PROFILE)
    assert len(cloud.patches) == 1
    assert output.stats() == {"turns": 1, "delivered": 0, "lost": 1, "failures": 1}


def test_a_server_that_answers_a_byte_at_a_time_does_not_hold_an_upload_longer_than_its_deadline(cloud, monkeypatch):
    monkeypatch.setattr(cloud_profiler, "_UPLOAD", 0.3)
    cloud.turns.append(turn())
    cloud.uploads.append(drip)
    output = make_output()
    assert not output.deliver(take_turn(output), PROFILE)
    assert output.stats()["failures"] == 1


# Stopping


def wait_on_thread(output: CloudProfilerOutput, stop: Stop) -> tuple[threading.Thread, list[Assignment | None]]:
    results: list[Assignment | None] = []
    thread = threading.Thread(target=lambda: results.append(output.wait_turn(stop)), daemon=True)
    thread.start()
    return thread, results


def test_to_stop_ends_a_hanging_request_and_hangs_up(cloud, caplog):
    output, stop = make_output(), Stop()
    thread, results = wait_on_thread(output, stop)
    eventually(lambda: cloud.creates)
    stop.ask()
    thread.join(5)
    assert results == [None]
    eventually(lambda: cloud.left == 1)
    assert caplog.messages == []
    assert output.stats()["failures"] == 0


def test_to_stop_ends_a_pause(cloud):
    cloud.turns.append(error(429, "RESOURCE_EXHAUSTED", "3600s"))
    output, stop = make_output(), Stop()
    thread, results = wait_on_thread(output, stop)
    eventually(lambda: cloud.creates)
    stop.ask()
    thread.join(5)
    assert results == [None]


def test_to_stop_ends_an_upload(cloud):
    cloud.turns.append(turn())
    cloud.uploads.append(profiler_server.hang)
    output, stop = make_output(), Stop()
    assignment = output.wait_turn(stop)
    threading.Thread(target=lambda: eventually(lambda: cloud.patches) and stop.ask()).start()
    assert not output.deliver(assignment, PROFILE)
    assert output.stats() == {"turns": 1, "delivered": 0, "lost": 1, "failures": 0}


def test_after_a_stop_nothing_is_sent(cloud):
    cloud.turns.append(turn())
    output, stop = make_output(), Stop()
    assignment = output.wait_turn(stop)
    stop.ask()
    assert not output.deliver(assignment, PROFILE)
    assert output.wait_turn(stop) is None
    assert (len(cloud.creates), len(cloud.patches)) == (1, 0)


HANGING = """
import os, sys, threading, time
from obskit.profiling.cloud_profiler import CloudProfilerOutput
from obskit.profiling.outputs import Stop
output, stop = CloudProfilerOutput(("CPU",), "orders", None, "p"), Stop()
def ask():
    while not stop.asked:
        output.wait_turn(stop)
thread = threading.Thread(target=ask, daemon=True)
thread.start()
sys.stdin.readline()
"""


def start_hanging(cloud: CloudProfiler, more: str) -> subprocess.Popen[str]:
    environ = clean_environ(OBSKIT_CLOUDPROFILER_ENDPOINT=cloud.address, NO_GCE_CHECK="true")
    command = [sys.executable, "-W", "error", "-W", FORK, "-c", HANGING + more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_program_ends_while_its_request_hangs(cloud):
    with start_hanging(cloud, "sys.exit(3)") as program:
        eventually(lambda: cloud.creates)
        assert program.communicate("go\n", timeout=20) == ("", "")
    assert program.returncode == 3
    eventually(lambda: cloud.left == 1)


def test_a_child_forked_off_while_the_request_hangs_asks_for_itself_and_does_not_keep_its_parents_request(cloud):
    child = """
if os.fork() == 0:
    own = Stop()
    assignment = output.wait_turn(own)
    print(assignment.profile_type, output.deliver(assignment, b"from the child"), output.stats()["turns"], flush=True)
    sys.stdin.readline()
    os._exit(0)
stop.ask()
thread.join()
print("the parent's request is over", flush=True)
os.wait()
"""
    cloud.turns.append(turn())
    with start_hanging(cloud, child) as program:
        eventually(lambda: len(cloud.creates) == 2)
        cloud.turns.append(turn())
        program.stdin.write("go\n")
        program.stdin.flush()
        lines = {program.stdout.readline(), program.stdout.readline()}
        eventually(lambda: cloud.left == 1)  # although the child, which has a copy of its socket, still runs
        assert program.communicate("end\n", timeout=20) == ("", "")
    assert lines == {"CPU True 1\n", "the parent's request is over\n"}
    assert len(cloud.creates) == 3


# Who we are


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("orders", "orders"),
        ("0rders.v1_x-y", "0rders.v1_x-y"),
        ("My Service", "my-service"),
        ("-_.orders._-", "orders"),
        ("Größe/öffnen", "gr-e-ffnen"),
        ("x" * 300, "x" * 255),
        ("x" * 254 + "-y", "x" * 254),
        ("注文", "python"),
    ],
)
def test_a_services_name_is_made_to_fit_and_that_is_told(caplog, given, name):
    assert service_name(given) == name
    assert profiler_server.SERVICE_NAME.fullmatch(name)
    assert len(caplog.messages) == (given != name)


def test_project_and_zone_come_from_the_metadata_server(cloud, monkeypatch):
    monkeypatch.delenv("NO_GCE_CHECK")
    cloud.turns.append(turn())
    with google_fakes.metadata({"project/project-id": "found", "instance/zone": "projects/9/zones/z-b"}) as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        take_turn(make_output(None, None))
    labels = {"language": "python", "zone": "z-b"}
    assert cloud.creates[0].body["deployment"] == {"projectId": "found", "target": "orders", "labels": labels}


def test_a_metadata_server_that_is_silent_is_asked_again_with_the_next_turn(cloud, monkeypatch):
    monkeypatch.delenv("NO_GCE_CHECK")
    monkeypatch.setattr(cloud_profiler, "_LOOK_UPS", 0.2)
    cloud.turns += [turn(), turn()]
    output = make_output()
    with google_fakes.silence() as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        take_turn(output)
    with google_fakes.metadata({"instance/zone": "projects/9/zones/z-b"}) as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        take_turn(output)
    assert [create.body["deployment"]["labels"].get("zone") for create in cloud.creates] == [None, "z-b"]


def test_a_zone_that_the_environment_names_wins_and_labels_are_cut_to_what_the_api_takes(cloud, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "cloud.region=r, cloud.availability_zone=z%2D1 ,a=b")
    cloud.turns.append(turn())
    take_turn(make_output("é" * 1000))
    assert cloud.creates[0].body["deployment"]["labels"] == {"language": "python", "version": "é" * 200, "zone": "z-1"}


def test_without_a_project_one_line_names_the_remedy(cloud, caplog):
    assert make_output(project=None).wait_turn(Clock(3)) is None
    assert len(caplog.messages) == 1
    assert "no Google Cloud project is known: give project=, or GOOGLE_CLOUD_PROJECT" in caplog.messages[0]
    assert cloud.creates == []


# Credentials


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[CloudProfiler, CloudProfiler]]:
    """The API behind TLS, and the server of its tokens."""
    pytest.importorskip("google.auth", reason="needs the extra gcp")
    certificate = google_fakes.make_certificate(tmp_path)
    with serve(tls=(certificate.path, certificate.key)) as cloud, serve() as tokens:
        key_file = google_fakes.make_key_file(tmp_path, tokens.address)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", cloud.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        yield cloud, tokens
        assert cloud.problems == []


def test_credentials_that_are_refused_are_renewed_at_once(secured):
    cloud, _ = secured
    cloud.turns += [error(401, "UNAUTHENTICATED"), turn()]
    cloud.uploads += [error(401, "UNAUTHENTICATED")]
    clock, output = Clock(), make_output(project=None)
    assert output.deliver(take_turn(output, clock), PROFILE)
    assert clock.waits == []
    assert [one.headers["authorization"] for one in cloud.creates] == ["Bearer token-1", "Bearer token-2"]
    assert [one.headers["authorization"] for one in cloud.patches] == ["Bearer token-2", "Bearer token-3"]
    assert cloud.creates[0].body["deployment"]["projectId"] == "the-accounts-project"
    assert output.stats()["failures"] == 0


def test_a_server_that_is_not_trusted_gets_nothing(secured, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    output = make_output()
    assert output.wait_turn(Clock(1)) is None
    assert secured[0].creates == []
    assert output.stats()["failures"] == 1


def test_credentials_never_travel_in_the_clear(secured, cloud, monkeypatch):
    monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", cloud.address)
    cloud.turns.append(turn())
    take_turn(make_output())
    assert "authorization" not in cloud.creates[0].headers
    assert secured[1].tokens == 0


def test_missing_credentials_are_told_once_with_the_remedy(monkeypatch, tmp_path, caplog):
    pytest.importorskip("google.auth", reason="needs the extra gcp")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLOUDSDK_CONFIG", raising=False)
    output = make_output()
    assert output.wait_turn(Clock(3)) is None
    ours = [record.getMessage() for record in caplog.records if record.name == "obskit"]
    assert len(ours) == 1
    assert "credentials" in ours[0]
    assert output.stats()["failures"] == 3


# Not seen by obskit itself


def test_nothing_of_it_is_traced(cloud):
    cloud.turns.append(turn())
    code = """
import sys, obskit
obskit.init(exporter=sys.argv[1], service="test", integrations=["http_client"])
from obskit.profiling.cloud_profiler import CloudProfilerOutput
from obskit.profiling.outputs import Stop
output = CloudProfilerOutput(("CPU",), "orders", None, "p")
with obskit.span("mine"):
    print(output.deliver(output.wait_turn(Stop()), b"x"))
"""
    with receiver() as spans:
        done = run(code, spans.url, OBSKIT_CLOUDPROFILER_ENDPOINT=cloud.address, NO_GCE_CHECK="true")
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
        assert spans.names == ["mine"]
    assert not {"b3", "x-b3-traceid", "traceparent"} & cloud.creates[0].headers.keys()


def test_what_libraries_log_meanwhile_is_marked_as_not_for_the_cloud(secured):
    marks = set()
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: marks.add((record.name, is_delivering()))
    logger = logging.getLogger()
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        secured[0].turns.append(turn())
        take_turn(make_output())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert {mark for mark in marks if not mark[1] and not mark[0].startswith("obskit")} == set()


# Google's own agent as the oracle

AGENT = """
import os, googlecloudprofiler
googlecloudprofiler.start(
    service="orders", service_version="7", disable_cpu_profiling=True,
    discovery_service_url=os.environ["OBSKIT_CLOUDPROFILER_ENDPOINT"] + "/$discovery/rest?version=v2",
)
while True:
    sum(range(1000))
"""


def test_requests_have_the_shape_of_those_of_googles_agent(tmp_path, monkeypatch):
    pytest.importorskip("googlecloudprofiler", reason="needs the extra google-profiler, which takes a C++ compiler")
    with serve(error(409, "ABORTED", "0.1s"), turn("WALL", "0.3s")) as theirs:
        key_file = google_fakes.make_key_file(tmp_path, theirs.address)
        environ = clean_environ(
            GOOGLE_APPLICATION_CREDENTIALS=str(key_file), OBSKIT_CLOUDPROFILER_ENDPOINT=theirs.address
        )
        with subprocess.Popen([sys.executable, "-c", AGENT], env=environ, stderr=subprocess.DEVNULL) as agent:
            eventually(lambda: len(theirs.creates) == 3, 30)
            agent.kill()
    with serve(error(409, "ABORTED", "0.1s"), turn("WALL", "0.3s")) as ours:
        monkeypatch.setenv("OBSKIT_CLOUDPROFILER_ENDPOINT", ours.address)
        output = CloudProfilerOutput(("WALL",), "orders", "7", "the-accounts-project")
        assert output.deliver(take_turn(output), PROFILE)

    assert ours.problems == theirs.problems == []
    assert profiler_server.decode(theirs.pprof()).sample_types == [("sample", "count"), ("wall", "nanoseconds")]
    assert [create.body for create in ours.creates] == [create.body for create in theirs.creates[:2]]
    assert without_bytes(ours) == without_bytes(theirs)
    for mine, agents in ((ours.creates[0], theirs.creates[0]), (ours.patches[0], theirs.patches[0])):
        assert mine.path == agents.path.partition("?")[0]
        for name in ("accept", "content-type", "x-goog-api-format-version"):
            assert mine.headers[name] == agents.headers[name]


def without_bytes(cloud: CloudProfiler) -> dict[str, object]:
    return {name: value for name, value in cloud.patches[0].body.items() if name != "profileBytes"}
