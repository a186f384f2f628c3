"""``logs=`` in real processes: who writes, how often, in what form, and that everything can be undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from .test_formatter import strict


def run(code, *, stdout=subprocess.PIPE, **environ):
    """Run a program; return its completed process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "OBSKIT_EXPORTER": "none", "OBSKIT_SERVICE": "orders", **environ},
    )


def entries(code, **environ):
    """Return the program's standard output, each line parsed strictly, having ended well and silently."""
    done = run(code, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return [strict(line) for line in done.stdout.splitlines()]


def test_plain_calls_become_json_when_nothing_was_configured():
    (entry,) = entries(
        """
        import logging, obskit
        obskit.init(logs="json")
        logging.getLogger("a.b").info("hello %s", "you")
        logging.getLogger("a.b").debug("not this")
        """
    )
    assert (entry["severity"], entry["message"], entry["logger"]) == ("INFO", "hello you", "a.b")


def test_json_is_the_default_where_standard_output_is_no_terminal():
    assert len(entries("import logging, obskit; obskit.init(); logging.warning('x')")) == 1


def test_a_configured_level_stays():
    assert (
        entries(
            """
            import logging, obskit
            logging.getLogger().setLevel(logging.ERROR)
            obskit.init(logs="json")
            logging.warning("x")
            """
        )
        == []
    )


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr", "sys.__stderr__"])
@pytest.mark.parametrize("first", [True, False])
def test_a_console_handler_of_the_application_is_taken_over_not_doubled(stream, first):
    configure = f"logging.basicConfig(level='INFO', stream={stream}, format='plain %(message)s', force=True)"
    before, after = (configure, "") if first else ("", configure)
    done = run(f"import logging, sys, obskit\n{before}\nobskit.init(logs='json')\n{after}\nlogging.info('x')")
    lines = (done.stdout + done.stderr).splitlines()
    assert [strict(line)["message"] for line in lines] == ["x"]
    assert bool(done.stdout) == (stream == "sys.stdout")


def test_a_handler_below_the_root_that_propagates_is_not_doubled():
    found = entries(
        """
        import logging, sys, obskit
        child = logging.getLogger("child")
        child.addHandler(logging.StreamHandler(sys.stdout))
        obskit.init(logs="json")
        child.warning("one")
        logging.warning("two")
        """
    )
    assert [entry["message"] for entry in found] == ["one", "two"]


def test_files_and_other_handlers_are_left_alone(tmp_path):
    path = tmp_path / "app.log"
    (entry,) = entries(
        f"""
        import logging, obskit
        handler = logging.FileHandler({str(path)!r})
        handler.setFormatter(logging.Formatter("plain %(message)s"))
        logging.getLogger().addHandler(handler)
        obskit.init(logs="json")
        logging.warning("x")
        """
    )
    assert entry["message"] == "x"
    assert path.read_text() == "plain x\n"


def test_basic_config_that_was_imported_by_name_before_init_writes_its_file(tmp_path):
    path = tmp_path / "app.log"
    (entry,) = entries(
        f"""
        import logging
        from logging import basicConfig
        import obskit
        obskit.init(logs="json")
        basicConfig(filename={str(path)!r}, level=logging.INFO, format="plain %(message)s")
        logging.info("x")
        """
    )
    assert entry["message"] == "x"
    assert path.read_text() == "plain x\n"


def test_dict_config_after_init_keeps_working():
    found = entries(
        """
        import logging, logging.config, obskit
        obskit.init(logs="json")
        logging.config.dictConfig({
            "version": 1, "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "plain %(message)s"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "plain"}},
            "root": {"level": "INFO", "handlers": ["out"]},
            "loggers": {"quiet": {"level": "ERROR"}, "own": {"handlers": ["out"], "propagate": False}},
        })
        logging.info("one")
        logging.getLogger("quiet").info("never")
        logging.getLogger("own").info("two")
        """
    )
    assert [entry["message"] for entry in found] == ["one", "two"]


def test_djangos_logging_setting_keeps_working():
    found = entries(
        """
        import logging, obskit
        obskit.init(logs="json")
        from django.conf import settings
        settings.configure(LOGGING={
            "version": 1, "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
            "loggers": {"django": {"handlers": ["console"], "level": "INFO"}},
        })
        import django
        django.setup()
        logging.getLogger("django.request").warning("one")
        logging.getLogger("mine").warning("two")
        """
    )
    assert [entry["message"] for entry in found] == ["one", "two"]


def test_inherit_gives_format_strings_the_trace():
    done = run(
        """
        import logging, sys, obskit
        form = "%(trace_id)s %(span_id)s %(trace_sampled)s %(message)s"
        logging.basicConfig(level="INFO", stream=sys.stdout, format=form)
        obskit.init(logs="inherit")
        logging.info("outside")
        with obskit.span("work") as span:
            logging.info("inside")
            print(span.trace_id, span.span_id, True, "inside")
        """
    )
    first, second, third = done.stdout.splitlines()
    assert first.split() == ["False", "outside"]
    assert second == third


def test_off_leaves_logging_untouched():
    done = run("import logging, obskit; obskit.init(logs='off'); logging.warning('x'); logging.info('y')")
    assert (done.stdout, done.stderr) == ("", "WARNING:root:x\n")


def test_console_lines_are_for_people():
    done = run(
        """
        import logging, obskit
        obskit.init(logs="console")
        with obskit.span("work") as span:
            logging.getLogger("a.b").warning("took %s\\x1b[31m\\nforged", 7, extra={"order": 17, "password": "hunter2"})
            print(span.trace_id)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("failed")
        """
    )
    line, trace_id, failed, *stack = done.stdout.splitlines()
    assert "WARNING  a.b: took 7\\x0aforged order=17" in line
    assert line.endswith(f"trace={trace_id[-8:]}")
    assert "hunter2" not in done.stdout
    assert failed.endswith("root: failed")
    assert stack[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("mode", ["json", "console"])
def test_an_uncaught_exception_is_a_record_and_the_status_stays(mode):
    done = run(f"import obskit; obskit.init(logs={mode!r}); raise ValueError('bad')")
    assert done.returncode == 1
    assert done.stderr == ""
    if mode == "json":
        (entry,) = [strict(line) for line in done.stdout.splitlines()]
        assert entry["severity"] == "CRITICAL"
        assert entry["stack_trace"].endswith("ValueError: bad")
        assert entry["serviceContext"]["service"] == "orders"


def test_an_exception_of_a_thread_and_a_warning_are_records():
    thread, warning = entries(
        """
        import threading, warnings, obskit
        obskit.init(logs="json")
        def work():
            raise ValueError("bad")
        thread = threading.Thread(target=work, name="worker-1")
        thread.start(); thread.join()
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        """,
        PYTHONWARNINGS="always",
    )
    assert "worker-1" in thread["message"]
    assert (warning["logger"], warning["severity"]) == ("py.warnings", "WARNING")


def test_the_applications_own_exception_hook_is_still_called():
    done = run(
        """
        import sys, obskit
        sys.excepthook = lambda kind, error, traceback: print("mine", error)
        obskit.init(logs="json")
        raise ValueError("bad")
        """
    )
    assert done.stdout.splitlines()[-1] == "mine bad"


def test_ctrl_c_looks_as_it_always_does():
    done = run("import obskit; obskit.init(logs='json'); raise KeyboardInterrupt")
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == ""


def test_a_queue_handler_keeps_the_trace():
    (entry,) = entries(
        """
        import logging, logging.handlers, queue, sys, obskit
        obskit.init(logs="json")
        waiting = queue.Queue()
        log = logging.getLogger("queued")
        log.propagate = False
        log.addHandler(logging.handlers.QueueHandler(waiting))
        listener = logging.handlers.QueueListener(waiting, logging.StreamHandler(sys.stdout))
        listener.start()
        with obskit.span("work"):
            log.warning("x")
        listener.stop()
        """
    )
    assert len(entry["logging.googleapis.com/spanId"]) == 16


def test_shutdown_with_unpatch_gives_logging_back():
    done = run(
        """
        import logging, sys, threading, obskit
        before = (logging.Handler.format, logging.getLogRecordFactory(), sys.excepthook, threading.excepthook)
        level = logging.root.level
        for mode in ("json", "inherit", "console"):
            obskit.init(logs=mode)
        obskit.shutdown(unpatch=True)
        assert before == (logging.Handler.format, logging.getLogRecordFactory(), sys.excepthook, threading.excepthook)
        assert (logging.root.handlers, logging.root.level) == ([], level)
        """
    )
    assert done.returncode == 0, done.stderr
    assert ["called again" in line for line in (done.stdout + done.stderr).splitlines()] == [True, True]


def test_a_closed_or_missing_standard_output_costs_lines_and_nothing_else():
    done = run(
        """
        import logging, sys, obskit
        obskit.init(logs="json")
        sys.stdout.close()
        logging.warning("lost")
        sys.stdout = sys.__stdout__ = None
        logging.warning("lost")
        sys.stderr.write(str(obskit.stats()["logs"]))
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "{'written': 0, 'lost': 2}")


def test_a_full_disk_costs_lines_and_nothing_else():
    code = "import logging, sys, obskit\nobskit.init(logs='json')\nlogging.warning('lost')\n"
    with open("/dev/full", "w") as full:
        done = run(code + "sys.stderr.write(str(obskit.stats()['logs']))", stdout=full)
    assert (done.returncode, done.stderr) == (0, "{'written': 0, 'lost': 1}")


def test_a_reader_that_went_away_leaves_the_program_running():
    reader, writer = os.pipe()
    os.close(reader)
    done = run(
        """
        import logging, sys, obskit
        obskit.init(logs="json")
        for _ in range(5):
            logging.warning("lost")
        sys.stderr.write(str(obskit.stats()["logs"]["lost"]))
        sys.stderr.flush()
        import os
        os._exit(0)
        """,
        stdout=writer,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "5")


def test_standard_output_that_is_not_utf_8_gets_escapes():
    done = run("import logging, obskit; obskit.init(logs='json'); logging.warning('café')", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["message"] == "café"


def test_the_default_path_imports_nothing_of_googles():
    done = run(
        "import sys, logging, obskit; obskit.init(logs='json'); print([m for m in sys.modules if 'google' in m])"
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("platform", "count"), [({}, 0), ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 1), ({"OBSKIT_REQUEST_LOG": "on"}, 1)]
)
def test_a_request_log_is_written_where_the_platform_writes_none(platform, count):
    found = entries(
        """
        import logging, obskit
        obskit.init(logs="json")
        from flask import Flask
        app = Flask("shop")
        app.add_url_rule("/items/<int:n>", view_func=lambda n: "x" * n)
        app.test_client().get("/items/7?secret=1", headers={"User-Agent": "curl"}).get_data()
        """,
        **platform,
    )
    assert len(found) == count
    for entry in found:
        request = entry["httpRequest"]
        assert (request["requestMethod"], request["requestUrl"], request["status"]) == ("GET", "/items/7", 200)
        assert (request["remoteIp"], request["userAgent"]) == ("127.0.0.1", "curl")
        assert float(request["latency"].rstrip("s")) > 0
        assert request["responseSize"] == "7"
        assert len(entry["logging.googleapis.com/spanId"]) == 16
