"""Programs run under the profiler, and what their profiles say: read by Google's protobuf library, not by our code."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# What profile.proto of github.com/google/pprof says: message: {field: (number, type, repeated)}
_SCHEMA: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Profile": {
        "sample_type": (1, "ValueType", True),
        "sample": (2, "Sample", True),
        "mapping": (3, "Mapping", True),
        "location": (4, "Location", True),
        "function": (5, "Function", True),
        "string_table": (6, "string", True),
        "drop_frames": (7, "int64", False),
        "keep_frames": (8, "int64", False),
        "time_nanos": (9, "int64", False),
        "duration_nanos": (10, "int64", False),
        "period_type": (11, "ValueType", False),
        "period": (12, "int64", False),
        "comment": (13, "int64", True),
        "default_sample_type": (14, "int64", False),
    },
    "ValueType": {"type": (1, "int64", False), "unit": (2, "int64", False)},
    "Sample": {"location_id": (1, "uint64", True), "value": (2, "int64", True), "label": (3, "Label", True)},
    "Label": {
        "key": (1, "int64", False),
        "str": (2, "int64", False),
        "num": (3, "int64", False),
        "num_unit": (4, "int64", False),
    },
    "Mapping": {"id": (1, "uint64", False), "filename": (5, "int64", False)},
    "Location": {
        "id": (1, "uint64", False),
        "mapping_id": (2, "uint64", False),
        "address": (3, "uint64", False),
        "line": (4, "Line", True),
    },
    "Line": {"function_id": (1, "uint64", False), "line": (2, "int64", False), "column": (3, "int64", False)},
    "Function": {
        "id": (1, "uint64", False),
        "name": (2, "int64", False),
        "system_name": (3, "int64", False),
        "filename": (4, "int64", False),
        "start_line": (5, "int64", False),
    },
}
_KINDS = {"int64": 3, "uint64": 4, "string": 9}


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="obskit_test_profile.proto", package="obskit_test", syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            added = message.field.add(name=field, number=number, label=3 if repeated else 1, type=_KINDS.get(kind, 11))
            if kind not in _KINDS:
                added.type_name = f".obskit_test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("obskit_test.Profile"))


Message = _message_class()


class Line(NamedTuple):
    function: str
    file: str
    first_line: int
    line: int


class Read(NamedTuple):
    """One sample: stack (innermost first), values and labels."""

    stack: tuple[Line, ...]
    values: tuple[int, ...]
    labels: dict[str, str]

    @property
    def functions(self) -> list[str]:
        return [line.function for line in self.stack]


class ReadProfile:
    """A profile as protobuf reads it."""

    def __init__(self, content: bytes) -> None:
        self.message = message = Message.FromString(gzip.decompress(content))
        self.texts = texts = list(message.string_table)
        assert texts[0] == ""
        functions = {one.id: one for one in message.function}
        assert 0 not in functions
        self.types = [(texts[one.type], texts[one.unit]) for one in message.sample_type]
        self.period_type = texts[message.period_type.type], texts[message.period_type.unit]
        lines = {}
        for one in message.location:
            [line] = one.line
            function = functions[line.function_id]
            lines[one.id] = Line(texts[function.name], texts[function.filename], function.start_line, line.line)
        assert 0 not in lines
        self.samples = [
            Read(
                tuple(lines[number] for number in one.location_id),
                tuple(one.value),
                {texts[label.key]: texts[label.str] for label in one.label},
            )
            for one in message.sample
        ]

    @property
    def total(self) -> int:
        return sum(sample.values[-1] for sample in self.samples)

    def shares(self, of: Any) -> dict[Any, float]:
        """Return which percentage of the last value each answer of ``of(sample)`` has; None does not count."""
        found: Counter[Any] = Counter()
        for sample in self.samples:
            if (key := of(sample)) is not None:
                found[key] += sample.values[-1]
        return {key: 100 * value / found.total() for key, value in found.items()}


def innermost(*names: str) -> Any:
    """Return what finds, for a sample, the innermost of the functions of these names."""

    def find(sample: Read) -> str | None:
        return next((name for name in (one.rpartition(".")[2] for one in sample.functions) if name in names), None)

    return find


BURN = """
import time

def begin(**options):
    import obskit
    obskit.init(**options)
    deadline = time.monotonic() + 60
    while (state := obskit.stats()["profiler"]["state"]) != "sampling":
        assert time.monotonic() < deadline, state
        time.sleep(.001)

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(50))
"""

ALWAYS = {"OBSKIT_PROFILER_DURATION": "600", "OBSKIT_PROFILER_INTERVAL": "600"}


def environment(folder: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OBSKIT_", "OTEL_", "PYTHON"))}
    ours = {"OBSKIT_EXPORTER": "none", "OBSKIT_LOGS": "off", "OBSKIT_SERVICE": "orders"}
    return {**kept, **ours, "OBSKIT_PROFILER_OUTPUT": str(folder / "profiles"), **ALWAYS, **extra}


def run(code: str, folder: Path, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a program that is profiled from its beginning to its end, and writes its profiles then."""
    command = [sys.executable, *options, "-c", BURN + code]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder, **extra), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done


def files(folder: Path, kind: str = "*") -> list[Path]:
    return sorted((folder / "profiles").glob(f"orders-{kind}-*.pprof.gz"))


def read(folder: Path, kind: str) -> ReadProfile:
    """Return the only profile of a type that was written."""
    [file] = files(folder, kind)
    return ReadProfile(file.read_bytes())
