"""Lines behind what the program prints, and nothing left behind where standard output fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from obskit.logs.writer import Writer

START = "import logging, sys, obskit\nobskit.init(service='orders', exporter='none', logs='json', integrations=[])\n"
BUFFERED = {"PYTHONUNBUFFERED": ""}
OWN_HANDLER = "import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO')\n"


def run_unread(code, *flags):
    """Run a program whose standard output nobody reads; return its exit status and standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    environ = {**os.environ, **BUFFERED}
    try:
        done = subprocess.run(
            [sys.executable, *flags, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, env=environ
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_program_whose_reader_is_gone_ends_as_if_it_had_logged_nothing(flags):
    code = START + "for number in range(3): logging.info('x')\nassert obskit.stats()['logs']['lost'] == 3"
    assert run_unread(code, *flags) == (0, "")


def test_what_the_program_itself_prints_to_a_reader_that_is_gone_fails_as_ever():
    plain = run_unread("print('x')")
    assert plain[0] == 120
    assert run_unread(START + "print('x')\nlogging.info('y')") == plain


def test_a_handler_of_the_applications_fails_as_ever():
    log = "logging.info('x')"
    plain, ours = run_unread(OWN_HANDLER + log), run_unread(OWN_HANDLER + START + log)
    assert ours[0] == plain[0] == 120
    assert ours[1].count("BrokenPipeError") == plain[1].count("BrokenPipeError") == 2


def test_lines_stand_where_they_were_logged_between_what_is_printed():
    code = START + "print('a')\nlogging.info('b')\nsys.stdout.write('c')\nlogging.info('d')\nprint('e')"
    environ = {**os.environ, **BUFFERED}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    marks = [done.stdout.index(mark) for mark in ("a\n", '"message":"b"', "\nc{", '"message":"d"', "\ne\n")]
    assert marks == sorted(marks), done.stdout


class Slow(io.RawIOBase):
    """Takes ten bytes at a time, as a terminal does where signals keep coming."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.taken += bytes(data[:10])
        return len(data[:10])


def log_to(stream, *messages):
    before, sys.stdout = sys.stdout, stream
    try:
        writer = Writer(stream)
        for message in messages:
            writer.write(message + "\n")
    finally:
        sys.stdout = before


def test_a_line_that_is_taken_in_parts_arrives_whole():
    slow = Slow()
    log_to(io.TextIOWrapper(io.BufferedWriter(slow), encoding="utf-8"), "x" * 95, "y" * 15)
    assert slow.taken == b"x" * 95 + b"\n" + b"y" * 15 + b"\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "ascii"])
def test_lines_are_in_the_encoding_of_standard_output(encoding, tmp_path):
    with open(tmp_path / "out", "w", encoding=encoding) as stream:
        log_to(stream, "one", "two")
    assert (tmp_path / "out").read_text(encoding) == "one\ntwo\n"
