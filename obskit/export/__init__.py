"""Delivers ended spans to their destinations."""
