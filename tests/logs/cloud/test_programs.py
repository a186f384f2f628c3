"""Whole programs: what they log arrives although they end at once, fork, or cannot reach anybody."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.export.receiver import free_port, run
from tests.logs.cloud import google_fakes
from tests.logs.cloud.google_fakes import Answer, Certificate, CloudLogging

START_WITHOUT_GOOGLE = """
import logging, os, sys
from obskit.logs.cloud.handler import CloudLoggingHandler
handler = CloudLoggingHandler("orders", project="p", exit_timeout=float(os.environ.get("PATIENCE", "30")))
logging.basicConfig(level=logging.INFO, handlers=[handler])
"""
# Google's libraries first: on a busy machine their import takes longer than an attempt may.
START = "import obskit.logs.cloud.client\n" + START_WITHOUT_GOOGLE
ALL = [f"number {number}" for number in range(500)]
CHANGED = "obskit.init() was called again with other options; from now on: "
LOG_500 = "for number in range(500): logging.info('number %d', number)\n"


def test_all_500_records_of_a_program_that_ends_at_once_arrive_over_rest(cloud: CloudLogging):
    done = run(START + LOG_500, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert cloud.messages == ALL


def test_all_500_records_of_a_program_that_ends_at_once_arrive_over_grpc_with_credentials(
    cloud: CloudLogging, certificate: Certificate, key_folder: Path
):
    key_file = google_fakes.make_key_file(key_folder, cloud.address)
    with google_fakes.grpc_over_tls(certificate) as server:
        done = run(
            START + LOG_500,
            OBSKIT_CLOUDLOGGING_ENDPOINT=server.address,
            GOOGLE_APPLICATION_CREDENTIALS=str(key_file),
            GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(certificate.path),
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert server.messages == ALL
    assert server.headers[0]["authorization"] == "Bearer a-token"
    assert server.entries[0]["logName"] == "projects/p/logs/orders"
    assert server.entries[0]["resource"] == {"type": "global", "labels": {"project_id": "p"}}


def test_a_program_that_is_ended_by_sys_exit_with_one_record_delivers_it(cloud: CloudLogging):
    done = run(START + "logging.error('last words'); sys.exit(3)", OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address)
    assert (done.returncode, done.stderr) == (3, "")
    assert cloud.messages == ["last words"]


def test_trouble_while_the_program_ends_is_told_and_overcome(cloud: CloudLogging):
    """``logging.shutdown`` holds the handler's lock meanwhile, and the worker logs the trouble through the handler."""
    cloud.answers += [Answer(503, "UNAVAILABLE"), Answer(503, "UNAVAILABLE")]
    done = run(START + LOG_500, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address)
    assert done.returncode == 0
    assert done.stderr.startswith("500 log entries could not be delivered")
    assert cloud.messages[:500] == ALL


def judge_over_grpc(server: CloudLogging, request: dict[str, Any]) -> Answer:
    """Be exhausted twice, then refuse entries that say "2"."""
    if len(server.requests) <= 2:
        return Answer(429, "RESOURCE_EXHAUSTED")
    messages = [entry["jsonPayload"]["message"] for entry in request["entries"]]
    return Answer(400, "INVALID_ARGUMENT", (messages.index("2"),)) if "2" in messages else google_fakes.OK


def test_over_grpc_failures_pass_bad_entries_are_named_and_hostile_values_arrive(certificate: Certificate):
    program = """
logging.info("first")
assert handler.pipeline.flush(__import__("time").monotonic() + 30)
for number in range(10): logging.info("%d", number)
handler.flush()
values = {"nan": float("nan"), "bytes": b"\\xff", "set": {1}, "tuple": {(1, 2): 3}, "huge": 10**5000, "lone": "\\ud800",
          "large": "x" * 1_000_000, "http_request": {"status": "soon"}, "labels": {1: 2}, "operation": 5}
for name, value in values.items(): logging.info("%s", name, extra={name: value})
handler.flush()
print(__import__("json").dumps(handler.pipeline.stats()))
"""
    with google_fakes.grpc_over_tls(certificate) as server:
        server.judge = partial(judge_over_grpc, server)
        done = run(
            START + program,
            OBSKIT_CLOUDLOGGING_ENDPOINT=server.address,
            GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(certificate.path),
        )
    assert done.returncode == 0, done.stderr
    numbers = [str(number) for number in range(10) if number != 2]
    hostile = ["nan", "bytes", "set", "tuple", "huge", "lone", "large", "http_request", "labels", "operation"]
    own = [m for m in server.messages if m.startswith(("1 log entry", "log entries are delivered", "Cloud Logging"))]
    assert [message for message in server.messages if message not in own] == ["first", *numbers, *hostile]
    assert json.loads(done.stdout)["dropped"] == {"rejected": 1}
    assert "429 as told" in done.stderr
    assert "Cloud Logging refuses a log entry: 400 as told" in done.stderr


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_forked_child_delivers_its_own_records_and_the_parent_its_own(certificate: Certificate, protocol: str):
    program = """
logging.info("parent before")
handler.flush()
logging.info("parent waiting")
child = os.fork()
who = "parent" if child else "child"
for number in range(20): logging.info("%s %d", who, number)
handler.flush()
if not child: os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    serve = google_fakes.rest() if protocol == "rest" else google_fakes.grpc_over_tls(certificate)
    with serve as server:
        done = run(
            START + program,
            OBSKIT_CLOUDLOGGING_ENDPOINT=server.address,
            GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(certificate.path),
        )
    assert done.returncode == 0, done.stderr
    expected = [f"{who} {number}" for who in ("parent", "child") for number in range(20)]
    # gRPC may lose a connection over the fork, which a warning tells: the entries arrive by another.
    logged = [message for message in server.messages if "delivered to localhost" not in message]
    assert sorted(logged) == sorted([*expected, "parent before", "parent waiting"])
    assert len({entry["insertId"] for entry in server.entries}) == len(server.entries)


@pytest.mark.parametrize("kind", ["nobody listens", "never answers", "never answers over gRPC"])
def test_a_program_ends_in_time_when_the_api_cannot_be_reached(kind: str):
    """In time for ``run``, which waits a minute; Google's own handler takes 95 seconds."""
    with google_fakes.silence() as address:
        endpoints = {
            "nobody listens": f"http://127.0.0.1:{free_port()}",
            "never answers": f"http://{address}",
            "never answers over gRPC": address.replace("127.0.0.1", "localhost"),
        }
        done = run(START + LOG_500, OBSKIT_CLOUDLOGGING_ENDPOINT=endpoints[kind], PATIENCE="1")
    assert done.returncode == 0
    assert "500 log entries" in done.stderr, "nobody was told"


def test_a_silent_metadata_server_loses_nothing(cloud: CloudLogging):
    with google_fakes.silence() as address:
        done = run(
            START + LOG_500, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, GCE_METADATA_HOST=address, NO_GCE_CHECK=""
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert cloud.messages == ALL
    assert cloud.entries[0]["resource"]["type"] == "global"


def test_the_project_and_the_resource_come_from_the_metadata_server(cloud: CloudLogging):
    values = {"project/project-id": "found", "instance/id": "123", "instance/zone": "projects/9/zones/europe-west1-b"}
    program = START.replace('project="p", ', "") + "logging.info('hello')"
    with google_fakes.metadata(values) as address:
        done = run(program, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, GCE_METADATA_HOST=address, NO_GCE_CHECK="")
    assert (done.returncode, done.stderr) == (0, "")
    [entry] = cloud.entries
    assert entry["logName"] == "projects/found/logs/orders"
    labels = {"project_id": "found", "instance_id": "123", "zone": "europe-west1-b"}
    assert entry["resource"] == {"type": "gce_instance", "labels": labels}


def test_google_is_imported_by_the_worker_alone_and_only_for_a_record(cloud: CloudLogging):
    program = START_WITHOUT_GOOGLE + (
        "assert not [name for name in sys.modules if name.split('.')[0] in ('google', 'grpc', 'requests')]\n"
        "logging.info('hello')\nhandler.flush()\nassert 'google.cloud.logging_v2' in sys.modules"
    )
    done = run(program, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_no_thread_can_be_started_a_flush_delivers_by_itself(cloud: CloudLogging):
    program = START + (
        "import _thread\n"
        'def refuse(*arguments): raise RuntimeError("can\'t start new thread")\n'
        "_thread.start_new_thread = refuse\n"
        "logging.info('hello')\nassert handler.pipeline.flush(__import__('time').monotonic() + 30)"
    )
    done = run(program, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address)
    assert done.returncode == 0, done.stderr
    assert "hello" in cloud.messages


@pytest.mark.parametrize(
    "end", ["", "raise ValueError('bad')", "import os; os.kill(os.getpid(), 2)", "assert obskit.shutdown(10)"]
)
def test_init_with_cloud_logs_delivers_all_with_traces_however_the_program_ends(cloud: CloudLogging, end: str):
    code = """
import logging, obskit
obskit.init(service="orders", exporter="none", logs="cloud", project="p", exit_timeout=30)
with obskit.span("work"), obskit.log_context(order_id=7):
    for number in range(500): logging.info("number %d", number)
"""
    done = run(code + end, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_LOGS="")
    assert done.returncode == {"": 0, "a": 0, "r": 1, "i": -2}[end[:1]]
    assert [message for message in cloud.messages if message in ALL] == ALL
    entry = cloud.entries[0]
    assert entry["trace"].startswith("projects/p/traces/")
    assert len(entry["spanId"]) == 16
    assert entry["jsonPayload"]["order_id"] == 7
    if end.startswith("raise"):
        assert cloud.entries[-1]["severity"] == "CRITICAL"


def test_a_forked_child_of_a_program_with_cloud_logs_delivers_once(cloud: CloudLogging):
    code = """
import logging, os, obskit
import obskit.logs.cloud.client  # as above
obskit.init(service="orders", exporter="none", logs="cloud", project="p", exit_timeout=30)
logging.info("before")
pid = os.fork()
logging.info("child" if pid == 0 else "parent")
assert obskit.flush(30)
if pid == 0: os._exit(0)
os.waitpid(pid, 0)
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_LOGS="", PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(cloud.messages) == ["before", "child", "parent"]


def test_a_forked_child_that_ends_by_os_exit_delivers_first(cloud: CloudLogging):
    code = """
import logging, os, obskit
obskit.init(logs="cloud", project="p", exporter="none")
if os.fork() == 0:
    logging.warning("child")
    os._exit(5)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_EXIT_TIMEOUT="30")
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")
    assert cloud.messages == ["child"]


@pytest.mark.parametrize("end", ["", "obskit.shutdown(30)", "obskit.flush(30); os._exit(0)"])
def test_dict_config_after_init_closes_all_handlers_and_loses_nothing(cloud: CloudLogging, end: str):
    code = """
import logging.config, os, obskit
obskit.init(logs="cloud", project="p", exporter="none")
logging.warning("before")
logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
logging.warning("between")
logging.config.dictConfig({"version": 1})
logging.warning("after")
assert obskit.stats()["logs"]["cloud"]["produced"] == 3
"""
    done = run(code + end, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_EXIT_TIMEOUT="30")
    assert (done.returncode, done.stderr) == (0, "")
    assert cloud.messages == ["before", "between", "after"]


def test_dict_config_waits_for_no_delivery_which_may_wait_for_its_lock():
    code = """
import logging.config, os, obskit
obskit.init(logs="cloud", project="p", exporter="none")
logging.warning("before")
logging.config.dictConfig({"version": 1})
print("configured", flush=True)
os._exit(0)
"""
    with google_fakes.silence() as address:
        done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=f"http://{address}", OBSKIT_EXIT_TIMEOUT="3600")
    assert (done.returncode, done.stdout) == (0, "configured\n")


def test_entries_have_longer_than_spans_to_leave_at_the_end(cloud: CloudLogging):
    code = """
import logging, time, obskit
from obskit.logs.cloud.delivery import CloudExporter
obskit.init(logs="cloud", project="p", exporter="none")
logging.warning("early")  # so that what imports and connections take is not part of it
assert obskit.flush(30)
send = CloudExporter.send
def late(self, *arguments):
    time.sleep(2.2)
    return send(self, *arguments)
CloudExporter.send = late
logging.warning("late")
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_EXIT_TIMEOUT="")
    assert (done.returncode, done.stderr) == (0, "")
    assert cloud.messages == ["early", "late"]


def test_init_after_a_shutdown_sends_cloud_logs_again(cloud: CloudLogging):
    code = """
import logging, obskit
for number in range(2):
    obskit.init(service="orders", exporter="none", logs="cloud", project="p", exit_timeout=30)
    logging.info("number %d", number)
    assert obskit.shutdown(30)
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_LOGS="")
    assert (done.returncode, done.stderr) == (0, "")
    assert cloud.messages == ["number 0", "number 1"]


def test_entries_that_wait_while_the_log_options_change_stay_in_sight_until_they_are_delivered(cloud: CloudLogging):
    code = """
import logging, obskit
options = {"exporter": "none", "logs": "cloud", "project": "p", "exit_timeout": 30}
obskit.init(service="orders", **options)
logging.info("old")
obskit.init(service="customers", **options)
logging.info("new")
[retired] = obskit.stats()["logs"]["retired"]
assert retired["produced"] == 1, retired
assert obskit.flush(30)
stats = obskit.stats()["logs"]
assert (stats["cloud"]["delivered"], stats["retired"][0]["delivered"]) == (2, 1), stats
assert obskit.shutdown(30)
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_LOGS="")
    assert (done.returncode, done.stderr) == (0, f"{CHANGED}service: 'orders' -> 'customers'\n")
    logs = {entry["jsonPayload"]["message"]: entry["logName"] for entry in cloud.entries}
    assert logs["old"] == "projects/p/logs/orders"
    assert logs["new"] == "projects/p/logs/customers"


def test_what_waits_when_cloud_logs_are_switched_off_is_delivered_at_the_end(cloud: CloudLogging):
    code = """
import logging, obskit
options = {"service": "orders", "exporter": "none", "project": "p", "exit_timeout": 30}
obskit.init(logs="cloud", **options)
logging.info("last words")
obskit.init(logs="off", **options)
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_LOGS="")
    assert (done.returncode, done.stderr) == (0, f"{CHANGED}logs: 'cloud' -> 'off'\n")
    assert "last words" in cloud.messages


def test_a_span_of_a_forked_child_is_not_taken_for_a_log_entry(cloud: CloudLogging):
    code = """
import logging, os, obskit
obskit.init(service="orders", exporter="none", logs="cloud", project="p", exit_timeout=30)
pid = os.fork()
if pid == 0:
    with obskit.span("child"): logging.info("child")
    assert obskit.flush(30)
    stats = obskit.stats()
    assert (stats["failures"], stats["logs"]["cloud"]["produced"]) == (0, 1), stats
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    done = run(code, OBSKIT_CLOUDLOGGING_ENDPOINT=cloud.address, OBSKIT_LOGS="", PYTHONWARNINGS="ignore")
    assert (done.returncode, done.stderr) == (0, "")
    assert cloud.messages == ["child"]
