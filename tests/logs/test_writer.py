"""Standard output has one writer: lines are whole beside whatever else writes there, and what is lost is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from obskit.logs.writer import Writer

BEGIN = """
import contextlib, fcntl, io, json, logging, os, signal, sys, threading, obskit
obskit.init(service="orders", exporter="none", logs="json", integrations=[])
log = logging.getLogger("app")
"""


def read_slowly(code, *flags, bite=3000, pause=0.0005, seconds=60, **environ):
    """Run a program whose standard output is read in small bites; return it and standard error."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **environ}
    with subprocess.Popen(
        [sys.executable, *flags, "-c", BEGIN + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as program:
        output, ends = b"", time.monotonic() + seconds
        while data := os.read(program.stdout.fileno(), bite):
            output += data
            time.sleep(pause)
            assert time.monotonic() < ends
        return output.decode(), program.stderr.read().decode()


def messages(output):
    """Return the beginnings of the messages, all lines being whole."""
    return [json.loads(line)["message"][:1] for line in output.splitlines()]


OTHERS = {
    "print": "def other(): print(json.dumps({'message': 'x' * 6000}), flush=True)",
    "the loguru sink": """
from loguru import logger
from obskit.logs.loguru import sink
logger.remove(); logger.add(sink)
def other(): logger.info("x" * 6000)
""",
    "a plain handler": """
handler = logging.StreamHandler(sys.stdout)
other_log = logging.getLogger("other"); other_log.addHandler(handler); other_log.propagate = False
def other(): other_log.info("x" * 6000)
""",
}


@pytest.mark.parametrize("other", OTHERS)
def test_lines_of_two_threads_are_whole(other):
    if "loguru" in other:
        pytest.importorskip("loguru")
    output, _ = read_slowly(
        OTHERS[other]
        + """
thread = threading.Thread(target=lambda: [other() for _ in range(100)])
thread.start()
for _ in range(100): log.info("y" * 6000)
thread.join()
"""
    )
    assert sorted(messages(output)) == ["x"] * 100 + ["y"] * 100


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_signal_handler_may_log_while_a_line_is_being_written(flags):
    output, _ = read_slowly(
        """
        signal.signal(signal.SIGALRM, lambda *args: logging.getLogger("signal").info("alarm"))
        for number in range(150):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            log.info("y" * 6000)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        log.info("z")
        """,
        *flags,
    )
    found = messages(output)
    assert found.count("y") == 150
    assert "a" in found


def test_a_signal_handler_may_log_while_the_program_prints():
    output, error = read_slowly(
        """
        count = 0
        def alarm(*args):
            global count
            count += 1
            log.info("alarm")
        signal.signal(signal.SIGALRM, alarm)
        for number in range(150):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            sys.stdout.write(json.dumps({"message": "p" * 9000}) + chr(10))
            sys.stdout.flush()
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        logging.shutdown()
        sys.stderr.write(f"{count} {obskit.stats()['logs']}")
        """
    )
    found = messages(output)
    count, stats = error.split(maxsplit=1)
    assert found.count("p") == 150
    assert found.count("a") == int(count)
    assert stats == f"{{'written': {count}, 'lost': 0}}"


def test_an_exception_of_a_signal_handler_reaches_the_program_and_the_next_line_is_whole():
    output, _ = read_slowly(
        """
        class Alarm(BaseException): pass
        def alarm(*args):
            if logging_on:
                signal.setitimer(signal.ITIMER_REAL, 0.5)  # again, if CPython ignores this one, as in a finaliser
                raise Alarm
        signal.signal(signal.SIGALRM, alarm)
        caught = 0
        for number in range(10):
            try:
                logging_on = True
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                while True: log.info("y" * 5000)
            except Alarm:
                logging_on = False
                caught += 1
        log.info("z")
        assert caught == 10
        """
    )
    *lines, last = output.splitlines()
    whole = [line for line in lines if line.endswith('"}') and line.count("severity") == 1]
    assert len(whole) >= len(lines) - 10
    assert json.loads(last)["message"] == "z"


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_standard_output_that_does_not_block_is_waited_for(flags):
    output, _ = read_slowly("os.set_blocking(1, False)\nfor _ in range(300): log.info('y' * 6000)", *flags)
    assert messages(output) == ["y"] * 300


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_reader_that_has_stopped_costs_lines_that_are_counted_but_no_time(flags):
    code = """
    from obskit.logs import writer
    writer._PATIENCE = 0.1
    os.set_blocking(1, False)
    for number in range(300): log.info("y" * 6000)
    stats = obskit.stats()["logs"]
    sys.stderr.write(json.dumps(stats)); sys.stderr.flush()
    while sys.stdin.read(): pass
    writer._PATIENCE = 10.0
    writer.standard_output.flush()
    log.info("z")
    """
    with subprocess.Popen(
        [sys.executable, *flags, "-c", BEGIN + textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        text=True,
    ) as program:
        stats = ""
        while not stats.endswith("}") and (text := program.stderr.read(1)):
            stats += text
        program.stdin.close()
        lines = messages(program.stdout.read())
    counted = json.loads(stats)
    assert counted["written"] + counted["lost"] == 300
    assert counted["lost"] > 0
    assert lines == ["y"] * counted["written"] + ["z"]


CAPTURES = {
    "redirect_stdout": """
with contextlib.redirect_stdout(io.StringIO()) as captured:
    log.warning("counting"); print("total: 3")
text = captured.getvalue()
""",
    "redirect_stdout to a file": """
import tempfile
with tempfile.TemporaryFile("w+") as file, contextlib.redirect_stdout(file):
    log.warning("counting"); print("total: 3")
    file.seek(0)
    text = file.read()
""",
    "doctest": """
import doctest
def work():
    '''
    >>> work()
    total: 3
    '''
    log.warning("counting"); print("total: 3")
assert doctest.testmod()[:2] == (0, 1)
text = "total: 3\\n"
""",
    "a click runner": """
import click.testing
@click.command()
def main():
    log.warning("counting"); print("total: 3")
text = click.testing.CliRunner().invoke(main).output
""",
}


@pytest.mark.parametrize("how", CAPTURES)
def test_text_that_the_program_captures_holds_what_it_printed_and_the_line_is_on_standard_output(how):
    if "click" in how:
        pytest.importorskip("click")
    output, error = read_slowly(CAPTURES[how] + "\nsys.stderr.write(text)")
    assert error == "total: 3\n"
    assert set(messages(output)) == {"c"}


def test_lines_of_a_handler_that_the_program_made_for_captured_text_stay_as_they_were():
    output, error = read_slowly(
        """
        with contextlib.redirect_stdout(io.StringIO()) as captured:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("own %(message)s"))
            log.addHandler(handler)
            log.warning("x")
        sys.stderr.write(captured.getvalue())
        """
    )
    assert error == "own x\n"
    assert messages(output) == ["x"]


@pytest.mark.parametrize("guarded", [True, False])
def test_standard_output_that_is_sent_to_logging_does_not_feed_itself(guarded, tmp_path):
    output, _ = read_slowly(
        f"""
        class ToLog:
            inside = False
            def write(self, text):
                if {guarded} and self.inside: return
                self.inside = True
                for line in text.rstrip().splitlines(): log.info(line)
                self.inside = False
            def flush(self): pass
        logging.basicConfig(filename={str(tmp_path / "app.log")!r}, level=logging.INFO)
        sys.stdout = ToLog()
        print("hello")
        """
    )
    assert messages(output) == ["h"]
    assert (tmp_path / "app.log").read_text() == "INFO:app:hello\n"


def test_another_wrapper_of_standard_output_is_followed():
    output, _ = read_slowly(
        """
        print(json.dumps({"message": "a"}), end="\\n")
        sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="latin-1")
        print(json.dumps({"message": "b"}))
        log.info("c")
        """
    )
    assert messages(output) == ["a", "b", "c"]


def test_lines_of_finalisers_at_the_end_of_the_program_are_written():
    output, _ = read_slowly(
        """
        import atexit
        class Late:
            def __del__(self): log.info("finaliser")
        late = Late()
        atexit.register(log.info, "exit")
        log.info("begin")
        """
    )
    assert messages(output) == ["b", "e", "f"]


def test_the_first_line_of_a_program_may_be_a_finalisers_at_its_end():
    """No module can be imported any more, and what encodes lines is imported with the first one."""
    output, _ = read_slowly(
        r"""
        class Late:
            def __del__(self):
                log.info("é %s", {"a": [1.5, None]}, extra={"k": "\udc80"})
                try: [][1]
                except IndexError: log.exception("failed")
                log.info("password='hunter2' of http://bob:hunter2@host/, Bearer abc123DEF456: near 'hunter2'")
        late = Late()
        """
    )
    first, second, third = map(json.loads, output.splitlines())
    assert (first["message"], first["k"]) == ("é {'a': [1.5, None]}", "?")
    assert (second["message"], "IndexError: list index" in second["stack_trace"]) == ("failed", True)
    assert third["message"].startswith("password='[masked]' of http://[masked]@host/, Bearer [masked]")


def test_the_first_line_is_written_where_no_file_can_be_opened():
    """Too many open files is what it may say; no module can be imported then."""
    output, _ = read_slowly(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        files = []
        with contextlib.suppress(OSError):
            while True: files.append(os.open(os.devnull, os.O_RDONLY))
        log.info("all taken")
        for file in files: os.close(file)
        log.info("better")
        """
    )
    assert messages(output) == ["a", "b"]


def test_a_child_that_is_forked_while_a_line_is_being_written_writes_too():
    output, _ = read_slowly(
        """
        log.info("y")  # the first line imports what later ones need
        thread = threading.Thread(target=lambda: [log.info("y" * 20_000) for _ in range(99)])
        thread.start()
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                log.info("child")
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        thread.join()
        """
    )
    assert output.count('"message":"child"') == 5  # two processes may well write into each other's lines


@pytest.mark.parametrize("when", ["while it waits", "when it has it"])
def test_an_exception_of_a_signal_handler_leaves_the_lock_to_others(when, tmp_path):
    with (tmp_path / "out").open("w+", encoding="utf-8") as stream:
        writer = Writer(stream)
        acquire = writer._acquire

        def interrupted():
            if when == "when it has it":
                acquire()
            raise KeyboardInterrupt

        writer._acquire = interrupted
        with pytest.raises(KeyboardInterrupt):
            writer.write("first\n")
        writer._acquire = acquire
        other = threading.Thread(target=writer.write, args=("second\n",), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()
