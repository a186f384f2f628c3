"""Maps Python's numeric levels to Cloud Logging's severities.

Source: google.logging.type.LogSeverity. A level between two names belongs to the lower one, as elsewhere in logging.
"""

from __future__ import annotations

from functools import lru_cache

_NAMES = (
    (60, "ALERT"),
    (50, "CRITICAL"),
    (40, "ERROR"),
    (30, "WARNING"),
    (25, "NOTICE"),
    (20, "INFO"),
    (1, "DEBUG"),
)


@lru_cache(maxsize=128)
def severity(level: int | None) -> str:
    """Return the severity of a level: DEFAULT for None and up to 0, NOTICE for 25, ALERT from 60."""
    return next((name for lowest, name in _NAMES if (level or 0) >= lowest), "DEFAULT")
