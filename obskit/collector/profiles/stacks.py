"""A profile as it is stored: frames once each, and samples that name them. It reads quicker than pprof."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import msgspec

from obskit.base.pprof import Location, Profile
from obskit.collector.store.blocks import Damaged

Frame = tuple[str, str, int]
"""Function, file and line."""

Labels = tuple[tuple[str, str], ...]


class Stacks(msgspec.Struct, array_like=True):
    """The samples of one type: stacks as numbers of ``frames``, outermost first, their values, and their labels."""

    frames: list[Frame]
    labels: list[Labels]
    samples: list[tuple[list[int], int, int]]  # stack, value, number of the labels

    @property
    def total(self) -> int:
        """The sum of all values."""
        return sum(value for _, value, _ in self.samples)


_MOST = 2**63  # a larger one is a negative number: of a difference, which cannot be added up
_decode = msgspec.json.Decoder(Stacks).decode


def of_pprof(profile: Profile, more: Labels = ()) -> Stacks:
    """Return the samples of a profile's last type, with ``more`` labels for each."""
    return of_samples(
        (
            [_frame(location) for location in reversed(sample.stack)],
            sample.values[-1],
            (*(label for label in sample.labels if label not in more), *more),
        )
        for sample in profile.samples
        if 0 < sample.values[-1] < _MOST
    )


def of_samples(samples: Iterable[tuple[Sequence[Frame], int, Labels]]) -> Stacks:
    """Return samples with their frames, outermost first; equal ones are added up."""
    frames: dict[Frame, int] = {}
    labels: dict[Labels, int] = {}
    sums: dict[tuple[tuple[int, ...], int], int] = {}
    for stack, value, given in samples:
        numbers = tuple(frames.setdefault(frame, len(frames)) for frame in stack)
        key = numbers, labels.setdefault(given, len(labels))
        sums[key] = sums.get(key, 0) + value
    return Stacks(list(frames), list(labels), [(list(stack), value, label) for (stack, label), value in sums.items()])


def pack(stacks: Stacks) -> bytes:
    """Return the bytes that are stored."""
    return zlib.compress(msgspec.json.encode(stacks), 6)


def unpack(data: bytes) -> Stacks:
    """Return what was stored. Raises Damaged."""
    try:
        return _decode(zlib.decompress(data))
    except (zlib.error, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def _frame(location: Location) -> Frame:
    return location.function, location.file, location.line
