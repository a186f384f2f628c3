"""httpx2, which sends as httpx does."""

from __future__ import annotations

from obskit.integrations.httpx import install

__all__ = ["install"]
