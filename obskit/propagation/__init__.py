"""Trace context in headers: read in every known format, written in those of the ``propagation`` option."""
