"""Builds the parts from the settings, and takes them down again: one runtime a process."""

from obskit.runtime.lifecycle import runtime as runtime
