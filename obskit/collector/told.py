"""What obskit's processes say of themselves in the headers of their messages, of whatever transport."""

from __future__ import annotations

from collections.abc import Mapping

from obskit.base import told_losses, told_running
from obskit.collector.told_losses import ToldLosses
from obskit.collector.told_running import ToldRunning


class Told:
    """What they lost, and what they are serving. Any thread may call it."""

    def __init__(self) -> None:
        self.losses = ToldLosses()
        self.running = ToldRunning()

    def note(self, headers: Mapping[str, str]) -> None:
        """Take what a message's headers say."""
        self.losses.note(headers.get(told_losses.HEADER))
        self.running.note(headers.get(told_running.HEADER))
