"""Takes profiles: samples, and makes of the samples what was asked for. Imported when the first one is due."""

from __future__ import annotations

from collections.abc import Callable

from obskit.profiling.heap import heap_profile
from obskit.profiling.pprof import Profile, encode
from obskit.profiling.profiles import cpu_profile, wall_profile
from obskit.profiling.recording import Recording
from obskit.profiling.sampler import Sampler
from obskit.profiling.threads import Identities
from obskit.profiling.turns import Assignment, Stop

_BUILD: dict[str, Callable[[Recording], Profile]] = {"CPU": cpu_profile, "WALL": wall_profile}


class Taken:
    """What was sampled for an assignment, each of whose types becomes a profile when it is asked for.

    ``rest`` is called now and then meanwhile, to let other threads go on.
    """

    def __init__(
        self, assignment: Assignment, hz: float, identities: Identities, stop: Stop, rest: Callable[[], object]
    ) -> None:
        """Sample for as long as the assignment says, or until ``stop`` is asked."""
        self._rest = rest
        self._recording = Sampler(hz, identities).run(assignment.duration, stop)
        self.samples = self._recording.samples

    def profile(self, profile_type: str) -> bytes:
        """Return a profile as a ``.pprof.gz`` file has it."""
        build = _BUILD.get(profile_type)
        profile = heap_profile(self._rest) if build is None else build(self._recording)
        return encode(profile, self._rest)
