"""The targets of the fuzzer, with what it begins with and a few hundred changes to that: the same in each run."""

import random

import pytest

from tests.fuzz.targets import TARGETS, seeds

_CHANGES = 300


def changed(rng, seed):
    """A message with a few bytes set, cut out or doubled."""
    body = bytearray(seed)
    for _ in range(rng.randint(1, 4)):
        begin = rng.randint(0, len(body))
        end = min(begin + rng.choice([1, 1, 2, 8, 40]), len(body))
        body[begin:end] = rng.choice(
            [
                b"",
                rng.randbytes(end - begin),
                bytes(body[begin:end]) * 2,
                rng.choice([b"\0", b"\xff", b'"', b"}", b"0"]),
            ]
        )
    return bytes(body)


@pytest.mark.parametrize("target", TARGETS)
def test_promises_hold(target):
    rng = random.Random(1)
    messages = seeds(target)
    assert messages
    for message in [b"", *messages, *(changed(rng, rng.choice(messages)) for _ in range(_CHANGES))]:
        TARGETS[target](message)
