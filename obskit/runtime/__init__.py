"""Builds, flushes and shuts down the parts that the settings ask for. There is one runtime in a process."""

from obskit.runtime.lifecycle import runtime as runtime
