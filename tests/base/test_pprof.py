"""The pprof files we write are what others read, and those of others are read."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess

import pytest

from obskit.base.pprof import Location, Profile, Sample, UnreadableProfile, ValueType, decode, encode
from tests.profiling.profiles import Line, Message, Read, ReadProfile

COUNT, CPU = ValueType("samples", "count"), ValueType("cpu", "nanoseconds")
MAIN = Location("<module>", "/srv/app.py", 1, 90)
HANDLE = Location("App.handle.<locals>.inner", "/srv/app.py", 20, 300)
ODD = Location("λ; <a href='x'>&", "C:\\odd dir\\b.py", 5, 7)
PROFILE = Profile(
    (COUNT, CPU),
    [
        Sample((HANDLE, MAIN), (3, 30_000_000), (("thread", "MainThread"), ("http.route", "/orders/{id}"))),
        Sample((MAIN,), (1, 2**40), (("thread", "MainThread"),)),
        Sample((ODD, HANDLE._replace(line=301), MAIN), (1, 10_000_000)),
    ],
    CPU,
    10_000_000,
    1_700_000_000_123_456_789,
    10_000_000_000,
)


def test_protobuf_reads_what_was_written() -> None:
    read = ReadProfile(encode(PROFILE))
    assert read.types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert read.period_type == ("cpu", "nanoseconds")
    message = read.message
    assert (message.period, message.time_nanos) == (10_000_000, 1_700_000_000_123_456_789)
    assert message.duration_nanos == 10_000_000_000
    assert read.texts[message.default_sample_type] == "cpu"
    assert read.samples == [
        Read(tuple(Line(*location) for location in sample.stack), sample.values, dict(sample.labels))
        for sample in PROFILE.samples
    ]
    assert len(message.location) == 4
    assert len(message.function) == 3


def test_what_was_written_is_read_again() -> None:
    assert decode(encode(PROFILE)) == PROFILE
    assert decode(gzip.decompress(encode(PROFILE))) == PROFILE


def test_an_empty_profile_is_a_profile() -> None:
    empty = PROFILE._replace(samples=[])
    assert decode(encode(empty)) == empty
    assert ReadProfile(encode(empty)).samples == []


@pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")
def test_go_tool_pprof_shows_functions_lines_and_labels(tmp_path) -> None:
    (tmp_path / "p.pprof.gz").write_bytes(encode(PROFILE))

    def pprof(*options: str) -> str:
        command = ["go", "tool", "pprof", *options, "p.pprof.gz"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    raw = pprof("-raw")
    assert "PeriodType: cpu nanoseconds" in raw
    assert "Period: 10000000" in raw
    assert "samples/count cpu/nanoseconds[dflt]" in raw
    assert "App.handle.<locals>.inner /srv/app.py:300" in raw
    assert "http.route:[/orders/{id}]" in raw
    assert "<module>" in pprof("-top")
    assert "/srv/app.py:90" in pprof("-top", "-lines")


def foreign() -> bytes:
    """A profile as other languages' profilers write them: inlined calls, addresses, numbers as labels, mappings."""
    texts = ["", "alloc", "bytes", "f", "g", "x.go", "size", "request"]
    message = Message(string_table=texts, time_nanos=5)
    message.sample_type.add(type=1, unit=2)
    message.mapping.add(id=1, filename=5)
    message.function.add(id=7, name=3, system_name=3, filename=5)
    message.function.add(id=9, name=4, filename=5)
    location = message.location.add(id=1, mapping_id=1, address=0x400)
    location.line.add(function_id=7, line=3, column=9)
    location.line.add(function_id=9, line=8)
    message.location.add(id=300, address=0xBEEF)
    sample = message.sample.add(location_id=[1, 300], value=[-5])
    sample.label.add(key=6, num=512, num_unit=2)
    sample.label.add(key=7, str=3)
    return message.SerializeToString()


def test_profiles_of_others_are_read() -> None:
    stack = (Location("f", "x.go", 0, 3), Location("g", "x.go", 0, 8), Location("0xbeef", "", 0, 0))
    sample = Sample(stack, (-5,), (("size", "512"), ("request", "f")))
    assert decode(foreign()) == Profile((ValueType("alloc", "bytes"),), [sample], ValueType("", ""), 0, 5, 0)


def test_numbers_that_are_not_packed_are_read() -> None:
    """Proto2 writers put each repeated number into a field of its own."""
    packed = bytes([0x12, 7, 0x0A, 2, 1, 1, 0x12, 1, 5])  # sample: locations 1 1, value 5
    loose = bytes([0x12, 6, 0x08, 1, 0x08, 1, 0x10, 5])
    rest = bytes([0x0A, 2, 0x08, 1, 0x22, 2, 0x08, 1, 0x32, 0, 0x32, 1, ord("n")])
    assert decode(loose + rest) == decode(packed + rest)
    assert decode(loose + rest).samples[0].values == (5,)


def is_profile(content: bytes) -> bool:
    try:
        decode(content)
    except UnreadableProfile:
        return False
    return True


def test_what_is_no_profile_is_said_to_be_none() -> None:
    whole = gzip.decompress(encode(PROFILE))
    generator = random.Random(1)
    hostile = [whole[:end] for end in range(0, len(whole), 3)]
    hostile += [bytes(generator.randbytes(generator.randrange(200))) for _ in range(500)]
    hostile += [b"\x1f\x8b" + whole, encode(PROFILE)[:-9], b"\xff" * 50, b"hello"]
    refused = [content for content in hostile if not is_profile(content)]
    assert len(refused) > 500
    for content in (b"", b"hello", encode(PROFILE)[:-20], b"\xff" * 50):
        with pytest.raises(UnreadableProfile):
            decode(content)
