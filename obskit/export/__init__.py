"""Bringing ended spans to where they are kept."""
