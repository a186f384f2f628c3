"""Notes about settings that are valid: which options changed, and which variables are unknown."""

from __future__ import annotations

import os
from collections.abc import Mapping

from obskit.settings.errors import shown
from obskit.settings.loading import Settings
from obskit.settings.options import OPTIONS

_PREFIX = "OBSKIT_"
_OTHER_VARIABLES = {
    "OBSKIT_CLOUDTRACE_ENDPOINT",
    "OBSKIT_CLOUDLOGGING_ENDPOINT",
    "OBSKIT_CLOUDPROFILER_ENDPOINT",
    "OBSKIT_GOOGLE_PROFILER_CPU",
}


def changes(before: Settings, after: Settings) -> dict[str, str]:
    """Return old and new value of each option that differs, without credentials."""
    pairs = zip(Settings._fields, before, after, strict=True)
    differ = [(name, old, new) for name, old, new in pairs if old != new and name != "ignored"]
    return {name: f"{name}: {shown(old)} -> {shown(new)}" for name, old, new in differ}


def unknown_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the unknown ``OBSKIT_*`` variables, each with the most similar known name, or an empty string."""
    known = {option.variable for option in OPTIONS} | _OTHER_VARIABLES
    unknown = [name for name in environ if name.startswith(_PREFIX) and name not in known]
    if not unknown:
        return {}
    from difflib import get_close_matches

    ends = {name.removeprefix(_PREFIX): name for name in known}
    close = [(name, get_close_matches(name.removeprefix(_PREFIX), ends, 1)) for name in unknown]
    return {name: ends[found[0]] if found else "" for name, found in close}
