"""Console lines survive what JSON survives, pass on no escape sequences, and are short."""

from __future__ import annotations

import logging

import pytest

import obskit
from obskit.base.failures import failures
from obskit.logs.console import ConsoleFormatter
from obskit.logs.entry import EntryBuilder
from obskit.testing import recording

from .test_formatter import HOSTILE, MESSAGES
from .test_setup import run

FORMATTER = ConsoleFormatter(EntryBuilder("orders", "1.4", "proj"), colour=False)


def line(message, *args, **fields):
    """Return a record's line, which is one line of text that a terminal only shows."""
    before = failures.value
    text = FORMATTER.format(logging.makeLogRecord({"name": "shop", "msg": message, "args": args, **fields}))
    assert failures.value == before
    assert text.encode().decode().splitlines() == [text]
    assert all(character.isprintable() or ord(character) > 159 for character in text), text
    return text


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_values_are_shown_beside_the_message(number):
    value = HOSTILE[number][0]
    for text in (
        line("hello", v=value),
        line({"message": "hello", "v": value}),
        line("hello", json_fields={"v": value}),
    ):
        assert "shop: hello v=" in text


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_a_message_that_cannot_be_formatted_is_still_a_line(number):
    message, arguments, part = MESSAGES[number]
    assert part.replace("\n", "\\x0a") in line(message, *arguments)


def test_a_huge_integer_is_hexadecimal_as_in_json():
    assert f"v={hex(10**5000)[:100]}" in line("hello", v=10**5000)


def test_a_huge_integer_leaves_the_message_and_standard_error_alone():
    done = run(
        """
        import logging, obskit
        obskit.init(logs="console")
        logging.getLogger("shop").info("hello", extra={"big": 10**5000})
        """
    )
    assert "shop: hello big=0x" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("where", ["name", "levelname", "key", "value"])
def test_nothing_of_a_record_forges_lines_or_moves_the_cursor(where):
    evil = "a\r\n\x1b[2J\x9b1A\u2028\ud800b"
    fields = {"key": {"json_fields": {evil: 1}}, "value": {"v": evil}}.get(where, {where: evil})
    assert "a\\x0d\\x0a\\x1b[2J\\x9b1A" in line("hello", **fields)


def test_colours_of_the_applications_are_taken_out_and_other_sequences_escaped():
    text = line("\x1b[31m\x1b[1mWARNING: dev server\x1b[0m \x1b[38;5;208morange\x1b[m \x1b[2Jgone \x1b]0;title\x07")
    assert text.endswith("shop: WARNING: dev server orange \\x1b[2Jgone \\x1b]0;title\\x07")


def test_a_sequence_that_taking_out_colours_would_make_is_escaped():
    assert line("\x1b\x1b[0m[2J").endswith("shop: \\x1b[2J")


def test_cloud_loggings_own_fields_have_short_names():
    text = line("hello", labels={"tier": "gold"}, operation={"id": "o-1"}, insert_id="mine", order=7)
    assert text.endswith("shop: hello labels={'tier': 'gold'} operation={'id': 'o-1'} order=7")


def test_traces_in_a_row_look_different():
    shown = set()
    with recording() as spans:
        for _ in range(3):
            with obskit.span("work") as span:
                text = line("hello")
                assert text.endswith(f" trace={span.trace_id[-8:]}")
                shown.add(text.rpartition("=")[2])
            spans.take()
    assert len(shown) == 3
