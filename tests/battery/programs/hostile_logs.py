"""Everything that JSON has no word for, as a field and as an argument of a message."""

import collections
import logging

import side  # noqa: F401 - starts the library
from side import note

log = logging.getLogger("hostile")
log.setLevel(logging.INFO)
cycle: list = []
cycle.append(cycle)
loop: dict = {}
loop["loop"] = loop
deep: list = []
for _ in range(90):
    deep = [deep]


class Angry:
    def __repr__(self):
        raise RuntimeError("no text")


values = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus": float("-inf"),
    "bytes": b"\xff\x00",
    "set": {1, "a"},
    "cycle": cycle,
    "loop": loop,
    "tuple key": {(1, 2): 3},
    "none key": {None: 1},
    "huge": 10**5000,
    "angry": Angry(),
    "deque": collections.deque([1]),
    "type": int,
    "surrogate": "\ud800",
    "deep": deep,
    "complex": 1j,
    "memory": memoryview(b"x"),
    "generator": (letter for letter in "ab"),
}
for name, value in values.items():
    log.info("value", extra={"value": value, "case_name": name})
    log.info("in text %s", {"value": value}, extra={"case_name": name + " as argument"})
log.info("too few %s %s", 1, extra={"case_name": "arguments"})
log.info({"message": "a dict", "value": values["nan"]}, extra={"case_name": "dict"})
note(lines=2 * len(values) + 2)
