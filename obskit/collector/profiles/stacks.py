"""A profile as it is stored: frames once each, and samples that name them. It reads quicker than pprof."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

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

    def by_stack(self) -> Iterable[tuple[list[int], Sequence[tuple[int, int]]]]:
        """Return stacks with their values and the numbers of their labels."""
        return ((stack, ((value, number),)) for stack, value, number in self.samples)

    def by_labels(self) -> Iterable[tuple[Labels, int]]:
        """Return the labels with what all samples that have them took, some of them several times."""
        return ((self.labels[number], value) for _, value, number in self.samples)

    @property
    def total(self) -> int:
        """The sum of all values."""
        return sum(value for _, value, _ in self.samples)


class Part(msgspec.Struct, array_like=True):
    """Samples of several profiles: each stack once, with its values and the numbers of their labels.

    In a plain one stacks have one value each, without labels, and ``together`` is what the labels have.
    """

    frames: list[Frame]
    labels: list[Labels]
    samples: list[tuple[list[int], list[tuple[int, int]]]]
    together: list[tuple[Labels, int]] = []

    def by_labels(self) -> Iterable[tuple[Labels, int]]:
        """Return the labels with what all samples that have them took."""
        return self.together

    def by_stack(self) -> Iterable[tuple[list[int], Sequence[tuple[int, int]]]]:
        """Return stacks with their values and the numbers of their labels."""
        return self.samples


class Sums:
    """Samples of many profiles: stacks as numbers of ``frames``, with a value for each number of ``labels``.

    In plain ones stacks have one value each, without labels, and ``together`` is what the labels have.
    """

    def __init__(self) -> None:
        self.frames: dict[Frame, int] = {}
        self.labels: dict[Labels, int] = {}
        self.samples: dict[tuple[int, ...], dict[int, int]] = {}
        self.together: Counter[Labels] = Counter()

    def add(self, stacks: Stacks | Part, kept: Callable[[Labels], Labels] = tuple) -> None:
        """Add samples, of whose labels those are told apart that are ``kept``."""
        frames = [self.frames.setdefault(frame, len(self.frames)) for frame in stacks.frames]
        labels = [self.labels.setdefault(kept(its), len(self.labels)) for its in stacks.labels]
        for stack, values in stacks.by_stack():
            its = self.samples.setdefault(tuple([frames[frame] for frame in stack]), {})
            for value, number in values:
                label = labels[number]
                its[label] = its.get(label, 0) + value

    def add_plain(self, stacks: Stacks | Part, kept: Callable[[Labels], Labels] = tuple) -> None:
        """Add samples to plain sums."""
        self.add(stacks, lambda _: ())
        for labels, value in stacks.by_labels():
            self.together[kept(labels)] += value

    def part(self) -> Part:
        """Return them as they are stored."""
        samples = [
            (list(stack), [(value, label) for label, value in its.items()]) for stack, its in self.samples.items()
        ]
        return Part(list(self.frames), list(self.labels), samples)

    def plain_part(self) -> Part:
        """Return them as plain ones are stored."""
        samples = [(list(stack), [(sum(its.values()), 0)]) for stack, its in self.samples.items()]
        return Part(list(self.frames), [()], samples, list(self.by_labels()))

    def by_labels(self) -> Iterable[tuple[Labels, int]]:
        """Return the labels with what all samples that have them took."""
        if self.together:
            return self.together.items()
        found: Counter[int] = Counter()
        for its in self.samples.values():
            found.update(its)
        return ((labels, found[number]) for labels, number in self.labels.items())


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
